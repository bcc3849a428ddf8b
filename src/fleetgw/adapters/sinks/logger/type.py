"""The declaration of the sink ``logger``."""

from fleetgw.adapters.sinks.logger.settings import Logger
from fleetgw.adapters.sinks.sink_type import ConfirmsNothing, SinkType, imported

LOGGER: SinkType[Logger] = SinkType(
    name="logger",
    settings=Logger,
    make=imported("fleetgw.adapters.sinks.logger.sink:LoggerSink"),
    names_destinations=False,
    confirmation=lambda _: ConfirmsNothing("the logger confirms nothing"),
)
