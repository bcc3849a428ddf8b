"""One line of JSON text for any value: no value of a field can make a log line fail."""

import json
import re
from collections.abc import Callable, Mapping

import msgspec
from twisted.python.reflect import safe_repr

from fleetgw.adapters.text.json_numbers import json_number

_repr: Callable[[object], str] = safe_repr  # untyped in Twisted
_ENCODER = msgspec.json.Encoder(order="deterministic", enc_hook=_repr)
_SURROGATE = re.compile("[\ud800-\udfff]")
_DEPTH_LIMIT = 32

_CONTROLS = "\x80-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
"""C1 controls, line and paragraph separators, bidirectional controls and invisible characters. JSON escapes C0 itself."""

_CONTROL = re.compile(f"[{_CONTROLS}]")

LONG_BYTES = 16_384
"""Longer texts are escaped in one pass in C, with everything that is not ASCII: a vehicle may send a megabyte of different
control characters, and a call per character or a pass per kind takes half a second."""


def to_json(value: object) -> bytes:
    """Encode compactly, keys sorted.

    NaN and infinities become the protobuf JSON strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; text that was not UTF-8
    (surrogate escapes) becomes U+FFFD, bytes become base64, and types unknown to JSON their ``repr``. Characters that end a
    line for some readers, or that control a terminal's cursor or text direction, are escaped; a long text (``LONG_BYTES``)
    is ASCII altogether. Never raises.
    """
    try:
        text = _encoded(value)
    except (TypeError, ValueError, RecursionError):
        return _encoded(_plain(value, 0))
    # msgspec writes NaN and infinities as null: only a text with a null needs a second look.
    return _encoded(_plain(value, 0)) if b"null" in text else text


def _encoded(value: object) -> bytes:
    text = _ENCODER.encode(value)
    if not text.isascii():
        if len(text) <= LONG_BYTES:
            text = _CONTROL.sub(_escape, text.decode()).encode()
        elif _CONTROL.search(text.decode()):
            text = json.dumps(msgspec.json.decode(text), separators=(",", ":")).encode()
    return text.replace(b"\x7f", b"\\u007f")


def _escape(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _plain(value: object, depth: int) -> object:
    """Rebuild ``value`` from types that the encoder supports."""
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
