"""A configuration as JSON values and as text."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from fleetgw.adapters.secrets.masking import is_secret_name, masked
from fleetgw.adapters.secrets.secret import MASK, Secret
from fleetgw.adapters.settings.values import fields_of
from fleetgw.adapters.text.terminal import escaped, json_text
from fleetgw.app.config.sections import Config
from fleetgw.domain.errors import Problem

_RED, _YELLOW, _BOLD, _PLAIN = "\x1b[31m", "\x1b[33m", "\x1b[1m", "\x1b[0m"


def effective_config(config: Config) -> dict[str, object]:
    """The configuration in effect as JSON values: with defaults, secrets masked, without keys that have no value."""
    return _members(config, mask=True)


def secrets_in(config: Config) -> frozenset[str]:
    """Every secret in the configuration, to mask it in other output."""
    return frozenset(_secrets(as_settings(config)))


def _secrets(value: object) -> Iterator[str]:
    match value:
        case Secret():
            yield str(value)
        case dict():
            for each in value.values():
                yield from _secrets(each)
        case list():
            for each in value:
                yield from _secrets(each)


def as_settings(section: msgspec.Struct | Mapping[str, object] | None) -> dict[str, object]:
    """A section as the plain JSON object that a sink gets: keys as in the file, secrets in clear."""
    return {} if section is None else _members(section, mask=False)


def _members(section: msgspec.Struct | Mapping[str, object], *, mask: bool) -> dict[str, object]:
    if isinstance(section, msgspec.Struct):
        section = {field.encode_name: getattr(section, field.name) for field in fields_of(type(section))}
    return {
        key: MASK if mask and _is_secret_number(key, value) else _plain(value, mask=mask)
        for key, value in section.items()
        if value is not None
    }


def _is_secret_number(key: str, value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and is_secret_name(key)


def _plain(value: object, *, mask: bool) -> object:
    match value:
        case msgspec.Struct() | dict():
            return _members(value, mask=mask)
        case tuple() | list():
            return [_plain(each, mask=mask) for each in value]
        case Secret():
            return MASK if mask else value
        case Path():
            return str(value)
        case str():
            return masked(value) if mask else value
        case _:
            return value


def render_effective(config: Config) -> str:
    """The effective configuration as text: indented JSON."""
    return json_text(effective_config(config))


def render_problems(problems: Sequence[Problem], warnings: Sequence[Problem] = (), *, colour: bool = False) -> str:
    """Problems, then warnings, one on each line: path, problem, remedy.

    :param colour: whether to use a terminal's escape sequences.
    """
    lines = [_line("error", _RED, each, colour=colour) for each in problems]
    lines += [_line("warning", _YELLOW, each, colour=colour) for each in warnings]
    return "\n".join(lines)


def _line(kind: str, hue: str, problem: Problem, *, colour: bool) -> str:
    path = escaped(problem.path) or "(file)"
    text = escaped(masked(" ".join(f"{problem.what}; {problem.fix}".splitlines())))
    if colour:
        return f"{_BOLD}{path}{_PLAIN}: {hue}{kind}{_PLAIN}: {text}"
    return f"{path}: {kind}: {text}"
