"""Compares two configurations, and takes over the keys of one that a reload applies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen
from msgspec import Struct, structs

from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.settings.findings import member
from fleetgw.adapters.settings.values import fields_of
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.adapters.text.terminal import json_text
from fleetgw.app.config.on_reload import OnReload, effect_of
from fleetgw.app.config.sections import Config
from fleetgw.app.config.showing import as_settings, effective_config

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

SHOWN_CHARACTERS = 200
"""A longer value is cut in ``Difference``."""


@frozen
class Difference:
    """A key with two values, as the effective configuration shows them: JSON, secrets masked; empty without a value."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.old or '(none)'} -> {self.new or '(none)'}"


def differences(old: Config, new: Config) -> list[Difference]:
    """All keys whose values differ, in the order of the configuration. A secret in a file differs when its path does."""
    return list(_differing("", as_settings(old), as_settings(new), effective_config(old), effective_config(new)))


def _differing(path: str, old: Any, new: Any, old_shown: Any, new_shown: Any) -> Iterator[Difference]:  # JSON values
    sections = [each for each in (old, new) if each is not None]
    if sections and all(isinstance(each, dict) for each in sections):
        for key in dict.fromkeys(key for each in sections for key in each):
            inner = ((each or {}).get(key) for each in (old, new, old_shown, new_shown))
            yield from _differing(member(path, key), *inner)
    elif not _same(old, new):
        yield Difference(path, _shown(old_shown), _shown(new_shown))


def _same(old: object, new: object) -> bool:
    if isinstance(old, SecretFile) and isinstance(new, SecretFile):
        return old.path == new.path
    return old == new


def _shown(value: object) -> str:
    text = "" if value is None else json_text(value, indent=None)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def taken_over(running: Config, read: Config, made_with: Mapping[str, Config]) -> Config:
    """The configuration in effect after a reload.

    :param running: the one in effect.
    :param read: the one that was read.
    :param made_with: the names of the sinks that go on, each with the configuration whose settings it has.
    """
    owners = {key: each.name for each in built_in_sinks().values() for key in (each.name, *each.further_keys)}
    kept = {
        field.name: getattr(made_with.get(owners.get(field.name, ""), running), field.name)
        for field in fields_of(Config)
        if effect_of(field.type) is OnReload.RESTART or owners.get(field.name) in made_with
    }
    sections = {
        field.name: _with_kept_keys(getattr(running, field.name), getattr(read, field.name))
        for field in fields_of(Config)
        if effect_of(field.type) is OnReload.APPLIED and isinstance(getattr(read, field.name), Struct)
    }
    dispatchers = _by_sink(read.dispatchers, {name: each.dispatchers for name, each in made_with.items()})
    lanes = _by_sink(read.delivery.sinks, {name: each.delivery.sinks for name, each in made_with.items()})
    return structs.replace(
        read, **sections | kept | {"dispatchers": dispatchers, "delivery": structs.replace(running.delivery, sinks=lanes)}
    )


def _with_kept_keys(running: Struct, read: Struct) -> Struct:
    """A section that a reload applies, as it was read except for those of its keys that need a restart."""
    kept = {
        field.name: getattr(running, field.name)
        for field in fields_of(type(read))
        if effect_of(field.type, OnReload.APPLIED) is OnReload.RESTART
    }
    return structs.replace(read, **kept)


def _by_sink(read: Mapping[str, Any], made_with: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings by sink: those of sinks that go on as they are, those of others as they were read."""
    kept = {name: each[name] for name, each in made_with.items() if name in each}
    return {name: each for name, each in read.items() if name not in made_with} | kept


def with_routes_of(other: Config, config: Config, record_types: Collection[str]) -> Config:
    """A configuration in which some record types have the sinks and ack policies that another one gives them."""
    keys = ("records", "reliable_ack_sources", "ack_policies")
    return structs.replace(config, **{key: _with(getattr(config, key), getattr(other, key), record_types) for key in keys})


def _with(values: Mapping[str, Any], others: Mapping[str, Any], keys: Collection[str]) -> dict[str, Any]:
    kept = {key: each for key, each in values.items() if key not in keys}
    return kept | {key: each for key, each in others.items() if key in keys}
