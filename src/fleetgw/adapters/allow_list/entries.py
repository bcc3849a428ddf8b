"""The entries of an allow list, from text, JSON or the members of a set. For a thread: a long list takes time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.line_limit import cut

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_VEHICLES = 1_000_000
"""Maximum number of entries."""

MAX_ENTRY_CHARACTERS = 128

MAX_BYTES = 32 * 1024 * 1024
"""Largest size of a list as text or JSON, in a response with its headers; ``MAX_VEHICLES`` VINs fit."""

_ENTRY = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_ENTRY_CHARACTERS}}}")

JSON_FORMS = 'must be a JSON array of VINs, or {"vins": [...]}'


class _Wrapped(msgspec.Struct):
    vins: list[str]


_decode = msgspec.json.Decoder(list[str] | _Wrapped).decode


def from_json(body: bytes) -> frozenset[str]:
    """Entries of a JSON array of texts, or of an object with such an array as ``vins``; it may be empty.

    :raises UnusableAllowList: it is neither, or has an entry that is no device id.
    """
    try:
        given = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnusableAllowList(f"{JSON_FORMS}, not {len(body)} bytes that begin with {_beginning(body)}") from error
    return checked(given if isinstance(given, list) else given.vins)


def from_text(content: bytes) -> frozenset[str]:
    """Entries of a file: one VIN a line, with empty lines and comments after ``#``; or JSON as in ``from_json``.

    :raises UnusableAllowList: an entry is no device id, or a text has no entry: a file may be read while it is written.
    """
    if content.lstrip()[:1] in (b"[", b"{"):
        return from_json(content)
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UnusableAllowList("is no text in UTF-8; write one VIN a line") from error
    entries = checked(entry for line in lines if (entry := line.partition("#")[0].strip()))
    if not entries:
        raise UnusableAllowList("names no vehicle; write one VIN a line, or [] to refuse every vehicle")
    return entries


def checked(entries: Iterable[str]) -> frozenset[str]:
    """The entries, without blanks around them.

    :raises UnusableAllowList: one is no device id, or there are more than ``MAX_VEHICLES``.
    """
    vehicles: set[str] = set()
    for number, entry in enumerate(entries, 1):
        vehicle = entry.strip()
        if not _ENTRY.fullmatch(vehicle):
            raise UnusableAllowList(f"entry {number} is {cut(entry, 40)!r}; a VIN has letters, digits and . _ : - alone")
        if number > MAX_VEHICLES:
            raise UnusableAllowList(f"has more than {MAX_VEHICLES} entries")
        vehicles.add(vehicle)
    return frozenset(vehicles)


def _beginning(body: bytes) -> str:
    return repr(body[:40].decode("utf-8", "replace"))
