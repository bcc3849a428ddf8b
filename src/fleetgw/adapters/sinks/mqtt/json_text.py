"""JSON in the Go server's form, as its MQTT consumers expect: compact, keys sorted, its escapes, its numbers."""

from __future__ import annotations

import re
from json.encoder import encode_basestring
from typing import TYPE_CHECKING

from fleetgw.adapters.codec.json_form import double_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    Json = str | int | float | bool | None | Mapping[str, "Json"] | Sequence["Json"]

_ESCAPED = {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_TO_ESCAPE = re.compile(f"[{''.join(_ESCAPED)}]")


def json_text(value: Json) -> str:
    """The JSON text of a value. Floats must be finite: see ``json_number``."""
    return _WRITERS[type(value)](value)


def _string(text: str) -> str:
    text = encode_basestring(text)
    # One call for each kind of character instead of one for each character: a vehicle may send a megabyte of them.
    if _TO_ESCAPE.search(text):
        for character, escape in _ESCAPED.items():
            text = text.replace(character, escape)
    return text


def _object(members: Mapping[str, Json]) -> str:
    return "{" + ",".join([f"{_string(key)}:{json_text(members[key])}" for key in sorted(members)]) + "}"


def _list(items: Sequence[Json]) -> str:
    return "[" + ",".join(map(json_text, items)) + "]"


# Any: each writer is called with the type that it is listed under.
_WRITERS: dict[type, Callable[[Any], str]] = {
    str: _string,
    int: str,
    float: double_text,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "null",
    dict: _object,
    list: _list,
}
