"""Conversion of JSON values to sections, value by value, so that every problem is reported with its path."""

import os
import typing
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from attrs import frozen

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.findings import Findings, member
from fleetgw.adapters.settings.keys import advice, is_comment
from fleetgw.adapters.settings.secrets import read_secret, with_secrets
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.surroundings import Surroundings
from fleetgw.adapters.settings.values import Settings, fields_of
from fleetgw.adapters.settings.wording import bare, hint, shown, type_name
from fleetgw.domain.errors import ConfigurationError

S = TypeVar("S", bound=Settings)

UNUSABLE: Any = object()  # placeholder of any type, for a value that could not be converted


def typed(kind: type[S], settings: Mapping[str, object], path: str) -> S:
    """Convert plain settings with resolved secrets, as a sink gets them, to a section.

    :param path: of the section, for errors.
    :raises ConfigurationError: settings are unknown, of the wrong type or out of range; names each.
    """
    findings = Findings()
    section = Converter(findings, Surroundings(os.environ, Path(), datetime.now(UTC))).section(kind, settings, path)
    if findings.problems:
        raise ConfigurationError(findings.problems)
    return section


@frozen
class Converter:
    """Converts values to types, and reports problems to ``findings``."""

    findings: Findings
    surroundings: Surroundings

    def section(self, kind: type[S], members: Mapping[str, object], path: str) -> S:
        """Make a section. A missing or wrong member is reported, and gets its default.

        As in the Go server, a null counts as left out, and the case of keys does not matter.
        A required member without a usable value is ``UNUSABLE``: check ``findings.usable`` before using it.
        """
        given = self._known_members(kind, members, path)
        values: dict[str, Any] = {}
        for field in fields_of(kind):
            where = member(path, field.encode_name)
            value = given.get(field.encode_name)
            if not isinstance(value, bool) and value in (hint(field.type, "as_left_out") or ()):
                if value == "":
                    self.findings.warn(where, "is empty, which counts as left out", _left_out(field.type))
                continue
            if value is None:
                if field.encode_name in given:
                    self._report_null(field.type, where)
                if field.required:
                    self.findings.refuse_value(where, "is missing", _missing(field.type))
                    values[field.name] = UNUSABLE
                continue
            converted = self._value(field.type, value, where)
            if converted is not UNUSABLE or field.required:
                values[field.name] = converted
        return kind(**values)

    def _report_null(self, kind: Any, path: str) -> None:  # a type annotation of any form
        note = self.findings.refuse if hint(kind, "null_refused") else self.findings.warn
        note(path, "is null, which counts as left out", _left_out(kind))

    def _known_members(self, kind: type[Settings], members: Mapping[str, object], path: str) -> dict[str, object]:
        known = frozenset(field.encode_name for field in fields_of(kind))
        given: dict[str, object] = {}
        for key, value in members.items():
            if is_comment(key) and key not in known:
                continue
            name = key if key in known else key.lower()
            where = member(path, key)
            if name not in known:
                if (fix := kind.old_keys.get(key.lower())) is not None:
                    self.findings.warn(where, "is an old key and has no effect", fix)
                else:
                    self.findings.refuse(where, "is not a key of the configuration", advice(kind, key, known))
            elif name != key and (name in members or name in given):
                self.findings.refuse(where, f"is the same key as {quoted([name])}", "keep one of them")
            else:
                if name != key:
                    self.findings.warn(where, "is not written as the key is", f"write {quoted([name])}")
                given[name] = value
        return given

    def _value(
        self, kind: Any, value: Any, path: str
    ) -> Any:  # a type annotation and a JSON value; the result is of that type
        plain = bare(kind)
        origin = typing.get_origin(plain)
        if plain is Secret:
            secret = read_secret(value, path, self.findings, self.surroundings)
            return UNUSABLE if secret is None else secret
        if plain is Path and isinstance(value, str | Path):
            return self._file(kind, str(value), path)
        if isinstance(plain, type) and issubclass(plain, Settings) and isinstance(value, dict):
            return self.section(plain, value, path)
        if origin is dict and isinstance(value, dict):
            settings = with_secrets(value, path, self.findings, self.surroundings) if hint(kind, "free_form") else value
            if not isinstance(settings, dict):  # the section as a whole was given as a secret is
                self.findings.refuse_value(path, "is one secret", f"must be {type_name(kind)}; give its values as secrets")
                return UNUSABLE
            return self._members(typing.get_args(plain)[1], settings, path)
        if origin is tuple and isinstance(value, list | tuple):
            items = [self._value(typing.get_args(plain)[0], each, f"{path}[{index}]") for index, each in enumerate(value)]
            return tuple(item for item in items if item is not UNUSABLE)
        return self._leaf(kind, value, path)

    def _members(
        self, kind: Any, members: Mapping[str, object], path: str
    ) -> dict[str, Any]:  # kind: of each member's value
        values = {key: self._value(kind, each, member(path, key)) for key, each in members.items()}
        return {key: each for key, each in values.items() if each is not UNUSABLE}

    def _leaf(self, kind: Any, value: object, path: str) -> Any:  # kind: a type annotation; the result is of that type
        if bare(kind) is object:
            return value
        if isinstance(value, str) and (aliases := hint(kind, "aliases")):
            value = aliases.get(value.lower(), value.lower())
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError:
            self.findings.refuse_value(path, f"is {shown(value)}", _correction(kind, value))
            return UNUSABLE

    def _file(self, kind: Any, value: str, path: str) -> Path | None:
        if "\0" in value:
            self.findings.refuse_value(path, f"is {shown(value)}, which holds a NUL", f"must be {type_name(kind)}")
            return UNUSABLE  # type: ignore[no-any-return]  # UNUSABLE stands for any type
        if value:
            return self.surroundings.base_dir / value
        if type(None) not in typing.get_args(typing.get_args(kind)[0]):
            self.findings.refuse_value(path, "is empty", _missing(kind))
            return UNUSABLE  # type: ignore[no-any-return]  # UNUSABLE stands for any type
        return None


def _left_out(kind: Any) -> str:  # a type annotation of any form
    return f"leave it out, or give {type_name(kind)}"


def _missing(kind: Any) -> str:  # a type annotation of any form
    return hint(kind, "when_missing") or f"must be {type_name(kind)}"


def _correction(kind: Any, value: object) -> str:  # kind: a type annotation of any form
    plain = bare(kind)
    if plain in (int, float) and isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return f"must be {type_name(kind)}: write it without the quotes"
    if plain is bool and isinstance(value, str) and value.lower() in ("true", "false"):
        return f"must be {type_name(kind)}: write it without the quotes"
    if typing.get_origin(plain) is tuple and isinstance(value, str):
        return f"must be {type_name(kind)}: write [{quoted([value])}]"
    return f"must be {type_name(kind)}"
