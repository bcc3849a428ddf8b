"""Lets twistd find the gateway: ``twistd fleetgw --config FILE``."""

from fleetgw.app.plugin import GatewayServiceMaker

fleetgw = GatewayServiceMaker("fleetgw")
