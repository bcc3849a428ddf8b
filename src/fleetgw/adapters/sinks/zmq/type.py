"""The declaration of the sink ``zmq``."""

from fleetgw.adapters.sinks.sink_type import ConfirmsLess, Exclusive, SinkType, imported
from fleetgw.adapters.sinks.zmq.checks import check_zmq
from fleetgw.adapters.sinks.zmq.settings import Zmq

ZMQ = SinkType(
    name="zmq",
    settings=Zmq,
    make=imported("fleetgw.adapters.sinks.zmq.sink:ZmqSink", "zmq"),
    meaning="The sink `zmq`.",
    needs_section=True,
    confirmation=lambda _: ConfirmsLess("zmq confirms no more than that the socket has taken a record"),
    holds=lambda zmq: [Exclusive("address", zmq.addr)],
    check=check_zmq,
    make_probe=imported("fleetgw.adapters.sinks.zmq.probe:zmq_probe", "zmq"),
)
