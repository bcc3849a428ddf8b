"""The sinks that a configuration uses: each one's type and its settings."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

from attrs import frozen

from fleetgw.adapters.settings.findings import member
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.adapters.sinks.registry import ENTRY_POINT_GROUP, built_in_sinks, installed_sinks, load
from fleetgw.app.config.showing import as_settings
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.sinks.registry import AnySinkType, Installed
    from fleetgw.app.config.sections import Config

BUILT_IN_SINKS = frozenset(built_in_sinks())
"""Those that there are when the gateway runs inside a program."""

AVAILABLE_SINKS = frozenset(name for name, each in built_in_sinks().items() if not each.embedded_only)
"""Those that there are when it runs by itself."""


@frozen
class ConfiguredSink:
    """A sink that records are routed to, or that a section of ``dispatchers`` describes.

    :ivar path: of its settings.
    :ivar settings: typed; None where they are not there or could not be read.
    """

    type: AnySinkType
    path: str
    settings: Any  # of the type that ``type`` says


@frozen
class GatewaySurroundings(Surroundings):
    """What a gateway's configuration depends on besides.

    :ivar available_sinks: the built-in sinks that may be routed to.
    :ivar installed: the sinks that are installed.
    :ivar sinks: those that the configuration uses, by name, as far as their types could be found.
    """

    available_sinks: frozenset[str]
    installed: Installed
    sinks: Mapping[str, ConfiguredSink]


def routed_sinks(config: Config) -> frozenset[str]:
    """The names of all sinks that records are routed to."""
    return frozenset(sink for sinks in config.records.values() for sink in sinks)


def sink_type(name: str, config: Config) -> AnySinkType:
    """Find the type of the sink called ``name``: built in, named as ``module:NAME``, or an installed entry point.

    :raises ConfigurationError: it cannot be found or imported.
    """
    if name in BUILT_IN_SINKS:
        return built_in_sinks()[name]
    dispatcher = config.dispatchers.get(name)
    if dispatcher is not None and dispatcher.class_ is not None:
        return load(EntryPoint(name, dispatcher.class_, ENTRY_POINT_GROUP), f"{member('dispatchers', name)}.class")
    if (entry_point := installed_sinks().third_party.get(name)) is not None:
        return load(entry_point, member("dispatchers", name))
    raise ConfigurationError(
        [Problem("records", f"no sink is called {name}", f"use one of {', '.join(sorted(BUILT_IN_SINKS))}")]
    )


def settings_path(name: str) -> str:
    """Where the settings of a sink stand."""
    return name if name in BUILT_IN_SINKS else f"{member('dispatchers', name)}.settings"


def settings_of(name: str, config: Config) -> Mapping[str, object]:
    """A sink's settings as a JSON object; empty when it has none."""
    if name in BUILT_IN_SINKS:
        return as_settings(getattr(config, name))
    dispatcher = config.dispatchers.get(name)
    return {} if dispatcher is None else dispatcher.settings


def further_of(sink: AnySinkType, config: Config) -> dict[str, Any]:  # Any: values of the types that the sink declares
    """The values of a built-in sink's keys beside its section."""
    return {key: getattr(config, key) for key in sink.further_keys} if sink.name in BUILT_IN_SINKS else {}
