"""The declaration of the sink ``embedded``."""

from fleetgw.adapters.settings.lane import LaneOverride
from fleetgw.adapters.sinks.embedded.settings import Embedded
from fleetgw.adapters.sinks.sink_type import SinkType, imported

EMBEDDED: SinkType[Embedded] = SinkType(
    name="embedded",
    settings=Embedded,
    make=imported("fleetgw.adapters.sinks.embedded.sink:EmbeddedSink"),
    meaning="The sink `embedded`, in a program of yours; works without its section.",
    embedded_only=True,
    names_destinations=False,
    lane=LaneOverride(batch_records=1),  # a batch is acknowledged when the last of its records is done with
)
