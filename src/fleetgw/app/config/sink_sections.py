"""The built-in sinks' part of the configuration: keys and sections as their ``SinkType`` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, field

from fleetgw.app.config.on_reload import NEW_SINKS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fleetgw.adapters.sinks.registry import AnySinkType


def sink_sections(types: Iterable[AnySinkType]) -> Iterator[tuple[str, Any, Any]]:
    """The sinks' fields of the configuration, for ``defstruct``: name, annotation, default.

    A section that its sink needs is None by default.
    """
    for each in types:
        section: Any = each.settings  # an annotation
        meaning = each.meaning or f"The sink `{each.name}`."
        if each.needs_section:
            yield each.name, Annotated[section | None, Meta(description=meaning, extra=NEW_SINKS)], None
        else:
            annotation = Annotated[section, Meta(description=meaning, extra=NEW_SINKS | {"null_refused": True})]
            yield each.name, annotation, field(default_factory=section)
        for key, kind in each.further_keys.items():
            yield key, Annotated[kind, Meta(extra=NEW_SINKS)], None
