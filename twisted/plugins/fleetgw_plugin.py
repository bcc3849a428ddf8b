"""Lets twistd find the gateway: ``twistd fleetgw --config FILE``."""

from fleetgw.app.service.plugin import GatewayServiceMaker

fleetgw = GatewayServiceMaker("fleetgw")
