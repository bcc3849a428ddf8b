"""The declaration of the sink ``pubsub``."""

from fleetgw.adapters.sinks.pubsub.checks import check_pubsub
from fleetgw.adapters.sinks.pubsub.settings import Pubsub
from fleetgw.adapters.sinks.sink_type import SinkType, imported

PUBSUB = SinkType(
    name="pubsub",
    settings=Pubsub,
    make=imported("fleetgw.adapters.sinks.pubsub.sink:PubsubSink", "pubsub"),
    needs_section=True,
    check=check_pubsub,
    make_probe=imported("fleetgw.adapters.sinks.pubsub.probe:pubsub_probe", "pubsub"),
)
