"""ZeroMQ: a PUB socket that any number of subscribers connect to; nobody confirms anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def zmq_sink(context: SinkContext) -> IDispatcher:
    """Make the ZMQ sink; the library is imported only here.

    :raises ConfigurationError: the library is not installed, or ``context.settings`` cannot work.
    """
    try:
        from fleetgw.adapters.sinks.zmq.sink import ZmqSink
    except ImportError as error:
        what = f"the library pyzmq is not installed ({error})"
        raise ConfigurationError([Problem(context.name, what, "pip install 'fleetgw[zmq]'")]) from error
    return ZmqSink(context)
