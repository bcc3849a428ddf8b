"""Lets twistd find the gateway: ``twistd fleetgw --config FILE``."""

from twisted.application.service import ServiceMaker

fleetgw = ServiceMaker("fleetgw", "fleetgw.app.service_maker", "Fleet telemetry gateway", "fleetgw")
