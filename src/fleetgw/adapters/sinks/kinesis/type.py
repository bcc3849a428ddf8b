"""The declaration of the sink ``kinesis``."""

from fleetgw.adapters.sinks.kinesis.checks import check_kinesis
from fleetgw.adapters.sinks.kinesis.settings import Kinesis
from fleetgw.adapters.sinks.sink_type import SinkType, imported

KINESIS = SinkType(
    name="kinesis",
    settings=Kinesis,
    make=imported("fleetgw.adapters.sinks.kinesis.sink:KinesisSink", "kinesis"),
    needs_section=True,
    check=check_kinesis,
    make_probe=imported("fleetgw.adapters.sinks.kinesis.probe:kinesis_probe", "kinesis"),
)
