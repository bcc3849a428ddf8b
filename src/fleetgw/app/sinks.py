"""From a sink's name in ``records`` to the sink itself; client libraries are imported only for sinks that are routed to."""

from __future__ import annotations

import importlib
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from fleetgw.app.config.showing import as_settings
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import IDispatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.app.config.sections import Config

    SinkMaker = Callable[[SinkContext], IDispatcher]

ENTRY_POINT_GROUP = "fleetgw.dispatchers"

BUILT_IN = {
    "kafka": "fleetgw.adapters.sinks.kafka:kafka_sink",
    "logger": "fleetgw.adapters.sinks.logger:LoggerSink",
    "memory": "fleetgw.adapters.sinks.memory:MemorySink",
}


def sink_maker(name: str, config: Config) -> SinkMaker:
    """Find what makes the sink called ``name``: built in, given as ``module:Class``, or an installed entry point.

    :raises ConfigurationError: it cannot be found or imported.
    """
    dispatcher = config.dispatchers.get(name)
    if dispatcher is not None and dispatcher.class_ is not None:
        maker: SinkMaker = _load(f"dispatchers.{name}.class", dispatcher.class_)
        return maker
    if name in BUILT_IN:
        maker = _load(f"records ({name})", BUILT_IN[name])
        return partial(maker, client=config.kafka_client) if name == "kafka" else maker
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=name):
        maker = _load(f"entry point {ENTRY_POINT_GROUP}:{name}", entry_point.value)
        return maker
    raise ConfigurationError([Problem("records", f"no sink is called {name}", f"use one of {', '.join(sorted(BUILT_IN))}")])


def _load(path: str, target: str) -> Any:  # whatever the module holds; what it makes is checked by ``make_sink``
    module_name, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        problem = Problem(path, f"{target} cannot be imported: {error}", "install the package, or give module:Class")
        raise ConfigurationError([problem]) from error


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
    sink = maker(context)
    try:
        verifyObject(IDispatcher, sink)
    except Invalid as error:
        problem = Problem(
            f"dispatchers.{context.name}", f"it does not provide IDispatcher: {error}", "see docs/writing-a-sink.md"
        )
        raise ConfigurationError([problem]) from error
    return sink
