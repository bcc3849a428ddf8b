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

_CONTROLS = "\x80-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
"""C1 controls, line and paragraph separators, what turns text round or is not to be seen. JSON escapes C0 itself."""

_ESCAPES = [
    (character.encode(), b"\\u%04x" % ord(character))
    for character in map(chr, range(0x80, 0x10000))
    if re.fullmatch(f"[{_CONTROLS}]", character)
]


def to_json(value: object) -> bytes:
    """Encode compactly, keys sorted.

    NaN and infinities become the protobuf JSON strings ``"NaN"``, ``"Infinity"``, ``"-Infinity"``; text that was not UTF-8
    (surrogate escapes) becomes U+FFFD, bytes become base64, and what JSON does not know its ``repr``. Characters that end a
    line for some readers, move a terminal's cursor or turn its text round are written as escapes. Raises nothing.
    """
    try:
        text = _ENCODER.encode(value)
    except (TypeError, ValueError, RecursionError):
        text = _ENCODER.encode(_plain(value, 0))
    else:
        # msgspec writes NaN and infinities as null: only a text with a null needs a second look.
        if b"null" in text:
            text = _ENCODER.encode(_plain(value, 0))
    if not text.isascii():
        # A call for each kind of character, not one for each that is there: a vehicle may send a megabyte of them.
        for character, escape in _ESCAPES:
            if character in text:
                text = text.replace(character, escape)
    return text.replace(b"\x7f", b"\\u007f")


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
