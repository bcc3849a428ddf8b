"""Any value as one line of JSON text, whatever it is: a log line is never lost for what it holds."""

import re
from collections.abc import Callable, Mapping

import msgspec
from twisted.python.reflect import safe_repr

from fleetgw.adapters.json_numbers import json_number

_repr: Callable[[object], str] = safe_repr  # untyped in Twisted
_ENCODER = msgspec.json.Encoder(order="deterministic", enc_hook=_repr)
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH_LIMIT = 32


def to_json(value: object) -> bytes:
    """Encode compactly, keys sorted.

    NaN and infinities become the protobuf JSON strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; text that was not UTF-8
    (surrogate escapes) becomes U+FFFD, bytes become base64, and what JSON does not know its ``repr``. Raises nothing.
    """
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        return _ENCODER.encode(_plain(value, 0))
    # msgspec writes NaN and infinities as null: only a text with a null needs a second look.
    return _ENCODER.encode(_plain(value, 0)) if b"null" in text else text


def _plain(value: object, depth: int) -> object:
    """``value`` rebuilt from what the encoder surely takes."""
    match value:
        case None | bool() | int() | bytes():
            return value
        case float():
            return json_number(value)
        case str():
            return _SURROGATE.sub("\ufffd", value)
        case Mapping() if depth < _DEPTH_LIMIT:
            return {str(_plain(str(key), depth)): _plain(item, depth + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset() if depth < _DEPTH_LIMIT:
            return [_plain(item, depth + 1) for item in value]
        case _:
            return _SURROGATE.sub("\ufffd", _repr(value))
