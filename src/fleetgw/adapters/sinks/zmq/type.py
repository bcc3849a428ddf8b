"""The declaration of the sink ``zmq``."""

from collections.abc import Collection

from fleetgw.adapters.sinks.sink_type import ConfirmsHandOver, Exclusive, SinkType, imported
from fleetgw.adapters.sinks.zmq.checks import check_zmq
from fleetgw.adapters.sinks.zmq.settings import Zmq


def _holds(zmq: Zmq) -> Collection[Exclusive]:
    is_any_free_port = zmq.addr.startswith("tcp:") and zmq.addr.endswith((":*", ":0"))
    return [] if is_any_free_port else [Exclusive("address", zmq.addr)]


ZMQ = SinkType(
    name="zmq",
    settings=Zmq,
    make=imported("fleetgw.adapters.sinks.zmq.sink:ZmqSink", "zmq"),
    needs_section=True,
    confirmation=lambda _: ConfirmsHandOver("zmq confirms no more than that the socket has taken a record"),
    holds=_holds,
    check=check_zmq,
    make_probe=imported("fleetgw.adapters.sinks.zmq.probe:zmq_probe", "zmq"),
)
