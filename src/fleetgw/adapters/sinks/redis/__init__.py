"""Redis: PUBLISH to the subscribers of each vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import IDispatcher


def redis_sink(context: SinkContext) -> IDispatcher:
    """Make the Redis sink.

    :raises ConfigurationError: redis-py is not installed, or ``context.settings`` cannot work.
    """
    try:
        from fleetgw.adapters.sinks.redis.sink import RedisSink
    except ImportError as error:
        what = f"a client library is not installed: {error}"
        raise ConfigurationError([Problem(context.name, what, "pip install 'fleetgw[redis]'")]) from error
    return RedisSink(context)
