"""The gateway inside a Python program, whose listeners get the records: under asyncio or Twisted."""

from fleetgw.domain.errors import ConfigurationError, Rejected
from fleetgw.embed.asyncio_gateway import Gateway
from fleetgw.embed.embedded_gateway import Connection
from fleetgw.embed.listening import Listening
from fleetgw.embed.reading import Records
from fleetgw.embed.record import Alert, Connectivity, Record, VehicleError
from fleetgw.embed.twisted_gateway import TwistedGateway

__all__ = [
    "Alert",
    "ConfigurationError",
    "Connection",
    "Connectivity",
    "Gateway",
    "Listening",
    "Record",
    "Records",
    "Rejected",
    "TwistedGateway",
    "VehicleError",
]
