"""Text of vehicles and servers for a terminal, without control characters: terminals act on some sequences of them."""

from __future__ import annotations

import json
import re

REPLACEMENT = "\ufffd"

_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_NOT_ASCII = re.compile(r"[^ -~]")
_NOT_ASCII_BUT_LINES = re.compile(r"[^ -~\n]")


def printable(text: str) -> str:
    """For people: U+FFFD in place of each character that a terminal might act on or not show."""
    return text if text.isprintable() else "".join(each if each.isprintable() else REPLACEMENT for each in text)


def escaped(text: str) -> str:
    r"""For programs: such characters as JSON writes them (``\n``, ``\u001b``); the line stays one line."""
    return text if text.isprintable() else _NOT_ASCII.sub(_escape, text)


def json_text(value: object, indent: int | None = 2) -> str:
    """A JSON value in which every character that a terminal might act on is escaped, C1 and bidirectional controls too."""
    return _NOT_ASCII_BUT_LINES.sub(_escape, json.dumps(value, indent=indent, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character.isprintable():
        return character
    if character in _SHORT:
        return _SHORT[character]
    encoded = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{encoded[index : index + 2].hex()}" for index in range(0, len(encoded), 2))
