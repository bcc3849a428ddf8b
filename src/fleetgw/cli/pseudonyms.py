"""Pseudonyms in place of VINs: the same vehicle has the same one in every text."""

from __future__ import annotations

import json
import re

_MIN_CHARACTERS = 6
"""Shorter names of vehicles are replaced in fields for VINs alone: other text would match them too often."""

_NAME = r"""(?<![A-Za-z])(?:vins?|device_?ids?)(?:_[a-z_]*)?\\?["']?"""
_QUOTED = r'(?:\\"[^"\\]*\\"|"(?:[^"\\]|\\.)*")'
_FIELD = re.compile(rf"({_NAME}\s*[=:]\s*)({_QUOTED}|[^\s,;\"'\[\]{{}}()]+)", re.IGNORECASE)
_LIST_FIELD = re.compile(rf"{_NAME}\s*[=:]\s*\[([^\]]*)\]", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z0-9]+")
_VIN = re.compile(r"(?=.*[A-Za-z])[A-HJ-NPR-Za-hj-npr-z0-9]{17}")
_UNKNOWN = "vehicle"
"""In place of a name of which the small letters are not those of any name that was learnt."""

_NO_NAMES = {"", "null", "none", "true", "false"}


class Pseudonyms:
    """Learns vehicles from fields for VINs and from words of the form of a VIN, and replaces them.

    Let it learn from every text before the first is replaced.
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}

    @property
    def count(self) -> int:
        """Number of vehicles so far."""
        return len(self._of)

    def learn(self, text: str) -> None:
        """Give a pseudonym to each vehicle in a text, in the order of their places."""
        for word in _WORD.findall(text):
            if _VIN.fullmatch(word):
                self.add(word)
        for found in _FIELD.finditer(text):
            self.add(_unquoted(found[2]))
        for found in _LIST_FIELD.finditer(text):
            for quoted in re.findall(_QUOTED, found[1]):
                self.add(_unquoted(quoted))

    def add(self, name: str) -> None:
        """Give a pseudonym to a vehicle, unless it has one."""
        key = name.lower()
        if key not in _NO_NAMES and key not in self._of:
            self._of[key] = f"vehicle-{len(self._of) + 1}"

    def replaced(self, text: str) -> str:
        """A text with the pseudonyms in place of the vehicles that were learnt, in capitals or not."""
        text = _FIELD.sub(self._in_field, text)
        if odd := self._odd_names():
            names = "|".join(re.escape(name) for name in sorted(odd, key=len, reverse=True))
            whole = re.compile(rf"(?<![A-Za-z0-9])(?:{names})(?![A-Za-z0-9])", re.IGNORECASE)
            text = whole.sub(lambda found: odd.get(found[0].lower(), _UNKNOWN), text)
        return _WORD.sub(self._in_words, text)

    def _in_field(self, found: re.Match[str]) -> str:
        value = found[2]
        pseudonym = self._of.get(_unquoted(value).lower())
        if pseudonym is None:
            return found[0]
        if not value.endswith('"'):
            return f"{found[1]}{pseudonym}"
        quote = value[: value.index('"') + 1]
        return f"{found[1]}{quote}{pseudonym}{quote}"

    def _in_words(self, found: re.Match[str]) -> str:
        word = found[0]
        return word if len(word) < _MIN_CHARACTERS else self._of.get(word.lower(), word)

    def _odd_names(self) -> dict[str, str]:
        """The names that are no single words, as they are and as JSON writes them."""
        return {
            form.lower(): pseudonym
            for name, pseudonym in self._of.items()
            if len(name) >= _MIN_CHARACTERS and not _WORD.fullmatch(name)
            for form in (name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1])
        }


def _unquoted(value: str) -> str:
    """The text that a value in a line or in JSON stands for."""
    if not value.endswith('"'):
        return value
    if value.startswith("\\"):
        return value[2:-2]
    try:
        return str(json.loads(value))
    except ValueError:
        return value[1:-1]
