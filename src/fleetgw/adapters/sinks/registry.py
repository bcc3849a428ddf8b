"""Finds installed sinks, built-in and third-party alike, by the entry points of one group."""

from __future__ import annotations

from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.sinks.sink_type import SinkType
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

AnySinkType: TypeAlias = SinkType[Any]  # each has settings of its own

ENTRY_POINT_GROUP = "fleetgw.sinks"
"""Group of entry points, each of which has a sink's name and points to its ``SinkType``."""

_OURS = "fleetgw.adapters.sinks."


@frozen
class Installed:
    """The sinks of one installation.

    :ivar built_in: by name.
    """

    built_in: Mapping[str, AnySinkType]

    @cached_property
    def third_party(self) -> Mapping[str, EntryPoint]:
        """Entry points of other packages' sinks, by name. A built-in sink takes precedence over one with its name.

        Found at the first access: the search reads the metadata of every installed package.
        """
        found = entry_points(group=ENTRY_POINT_GROUP)
        return {each.name: each for each in found if each.name not in self.built_in}


@cache
def built_in_sinks() -> Mapping[str, AnySinkType]:
    """Sinks of this package. Imports their declarations, and no client library."""
    ours = [each for each in entry_points(group=ENTRY_POINT_GROUP) if each.value.startswith(_OURS)]
    return {each.name: load(each, f"entry point {each.name}") for each in sorted(ours)}


def installed_sinks() -> Installed:
    """Sinks that are installed now."""
    return Installed(built_in_sinks())


def load(entry_point: EntryPoint, path: str) -> AnySinkType:
    """Import a sink's declaration.

    :param path: in the configuration, for errors.
    :raises ConfigurationError: it cannot be imported, or is no ``SinkType``.
    """
    try:
        found = entry_point.load()
    except Exception as error:  # an import may raise any exception
        what = f"{entry_point.value} cannot be imported: {type(error).__name__}: {error}"
        raise ConfigurationError([Problem(path, what, "install the package, or correct module:NAME")]) from error
    if not isinstance(found, SinkType):
        what = f"{quoted([entry_point.value])} is no SinkType"
        raise ConfigurationError([Problem(path, what, "name one; see docs/writing-a-sink.md")])
    return found
