"""Text of vehicles and servers without control characters, which terminals would execute."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TextIO

NO_COLOUR_VARIABLE = "NO_COLOR"
"""Environment variable: when it is not empty, text on a terminal has no colours (https://no-color.org)."""

REPLACEMENT = "\ufffd"

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_NOT_ASCII = re.compile(r"[^ -~]")
_NOT_ASCII_BUT_LINES = re.compile(r"[^ -~\n]")


def has_colours(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether text in a stream may have colours: it is a terminal, and ``NO_COLOR`` is not in the environment."""
    return stream.isatty() and not environ.get(NO_COLOUR_VARIABLE)


def printable(text: str) -> str:
    """Text for people: U+FFFD replaces each character that a terminal might execute or not show."""
    return text if text.isprintable() else "".join(each if each.isprintable() else REPLACEMENT for each in text)


def escaped(text: str) -> str:
    r"""Text for programs: such characters are escaped as in JSON (``\n``, ``\u001b``), so that a line stays one line."""
    return text if text.isprintable() else _NOT_ASCII.sub(_escape, text)


def json_text(value: object, indent: int | None = 2) -> str:
    """A JSON value in which every control character is escaped, C1 and bidirectional controls included."""
    return _NOT_ASCII_BUT_LINES.sub(_escape, json.dumps(value, indent=indent, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    if character in _SHORT:
        return _SHORT[character]
    encoded = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[index : index + 2].hex()}" for index in range(0, len(encoded), 2))
