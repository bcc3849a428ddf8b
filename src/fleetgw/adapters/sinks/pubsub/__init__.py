"""Google Cloud Pub/Sub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def pubsub_sink(context: SinkContext) -> IDispatcher:
    """Make the Pub/Sub sink.

    :raises ConfigurationError: the client library is not installed, or ``context.settings`` cannot work.
    """
    try:
        from fleetgw.adapters.sinks.pubsub.sink import PubsubSink
    except ImportError as error:
        what = f"a client library is not installed: {error}"
        raise ConfigurationError([Problem(context.name, what, "pip install 'fleetgw[pubsub]'")]) from error
    return PubsubSink(context)
