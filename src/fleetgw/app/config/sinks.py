"""The sinks that a configuration uses, with their types and settings."""

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
"""Names of the sinks of a gateway inside a program."""

AVAILABLE_SINKS = frozenset(name for name, each in built_in_sinks().items() if not each.embedded_only)
"""Names of the sinks of a gateway that is a process of its own."""


@frozen
class ConfiguredSink:
    """A sink that records are routed to, or that a section of ``dispatchers`` describes.

    :ivar path: path of its settings.
    :ivar settings: typed; None where they are missing or could not be read.
    """

    type: AnySinkType
    path: str
    settings: Any  # of the type in ``type.settings``


@frozen
class GatewaySurroundings(Surroundings):
    """The surroundings that checks of a gateway's configuration look at.

    :ivar available_sinks: names of the built-in sinks that records may be routed to.
    :ivar installed: all installed sinks.
    :ivar sinks: sinks in use, by name, as far as their types could be found.
    """

    available_sinks: frozenset[str]
    installed: Installed
    sinks: Mapping[str, ConfiguredSink]


def routed_sinks(config: Config) -> frozenset[str]:
    """Names of all sinks that records are routed to."""
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
    """The path of a sink's settings."""
    return name if name in BUILT_IN_SINKS else f"{member('dispatchers', name)}.settings"


def settings_of(name: str, config: Config) -> Mapping[str, object]:
    """A sink's settings as a JSON object; empty where it has none."""
    if name in BUILT_IN_SINKS:
        return as_settings(getattr(config, name))
    dispatcher = config.dispatchers.get(name)
    return {} if dispatcher is None else dispatcher.settings


def further_of(sink: AnySinkType, config: Config) -> dict[str, Any]:  # Any: values of the types that the sink declares
    """The values of a built-in sink's keys outside its section."""
    return {key: getattr(config, key) for key in sink.further_keys} if sink.name in BUILT_IN_SINKS else {}
