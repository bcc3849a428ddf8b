"""From a sink's name in ``records`` to the sink itself; client libraries are imported only for sinks that are routed to."""

from __future__ import annotations

from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from fleetgw.app.config import ENTRY_POINT_GROUP, as_settings
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IDispatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.app.config.sections import Config

    SinkMaker = Callable[..., IDispatcher]  # called with a SinkContext; one takes more

BUILT_IN = {
    "embedded": "fleetgw.adapters.sinks.embedded.sink:EmbeddedSink",
    "kafka": "fleetgw.adapters.sinks.kafka:kafka_sink",
    "kinesis": "fleetgw.adapters.sinks.kinesis:kinesis_sink",
    "logger": "fleetgw.adapters.sinks.logger.sink:LoggerSink",
    "memory": "fleetgw.adapters.sinks.memory.sink:MemorySink",
    "mqtt": "fleetgw.adapters.sinks.mqtt:mqtt_sink",
    "pubsub": "fleetgw.adapters.sinks.pubsub:pubsub_sink",
    "redis": "fleetgw.adapters.sinks.redis:redis_sink",
    "sqlite": "fleetgw.adapters.sinks.sqlite.sink:SqliteSink",
    "zmq": "fleetgw.adapters.sinks.zmq:zmq_sink",
}


def sink_maker(name: str, config: Config) -> SinkMaker:
    """Find what makes the sink called ``name``: built in, given as ``module:Class``, or an installed entry point.

    :raises ConfigurationError: it cannot be found or imported.
    """
    dispatcher = config.dispatchers.get(name)
    if dispatcher is not None and dispatcher.class_ is not None:
        return _load(f"dispatchers.{name}.class", EntryPoint(name, dispatcher.class_, ENTRY_POINT_GROUP))
    if name in BUILT_IN:
        maker = _load(f"records ({name})", EntryPoint(name, BUILT_IN[name], ENTRY_POINT_GROUP))
        return partial(maker, client=config.kafka_client) if name == "kafka" else maker
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        return _load(f"entry point {ENTRY_POINT_GROUP}:{name}", entry_point)
    raise ConfigurationError([Problem("records", f"no sink is called {name}", f"use one of {', '.join(sorted(BUILT_IN))}")])


def _load(path: str, entry_point: EntryPoint) -> SinkMaker:
    try:
        maker: SinkMaker = entry_point.load()  # whatever the module holds; what it makes is checked by ``make_sink``
    except Exception as error:  # a module may raise anything while it is imported
        what = f"{entry_point.value} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigurationError([Problem(path, what, "install the package, or give module:Class")]) from error
    return maker


def settings_of(name: str, config: Config) -> Mapping[str, object]:
    """A sink's section of the configuration as a JSON object; empty when it has none."""
    dispatcher = config.dispatchers.get(name)
    if dispatcher is not None:
        return dispatcher.settings
    return as_settings(getattr(config, name, None))


def make_sink(maker: SinkMaker, context: SinkContext) -> IDispatcher:
    """Make a sink and see that it is one.

    :raises ConfigurationError: its settings cannot work, or what was made does not provide ``IDispatcher``.
    """
    path = f"dispatchers.{context.name}"
    try:
        sink = maker(context)
        verifyObject(IDispatcher, sink)
    except ConfigurationError:
        raise
    except Invalid as error:
        what = f"it does not provide IDispatcher: {error}"
        raise ConfigurationError([Problem(path, what, "see docs/writing-a-sink.md")]) from error
    except Exception as error:  # a third party's; an operator needs its name more than a traceback of ours
        what = f"it cannot be made: {type(error).__name__}: {error}"
        raise ConfigurationError([Problem(path, what, "see docs/writing-a-sink.md")]) from error
    if sink.name != context.name:
        what = f"the sink calls itself {sink.name!r}"
        raise ConfigurationError([Problem(path, what, f"its name must be its context's, {context.name!r}")])
    return sink
