"""The declaration of the sink ``memory``."""

from fleetgw.adapters.sinks.memory.settings import Memory
from fleetgw.adapters.sinks.sink_type import SinkType, imported

MEMORY: SinkType[Memory] = SinkType(
    name="memory",
    settings=Memory,
    make=imported("fleetgw.adapters.sinks.memory.sink:MemorySink"),
    meaning="The sink `memory`, for tests; works without its section.",
    names_destinations=False,
)
