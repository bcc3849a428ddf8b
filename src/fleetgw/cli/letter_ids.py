"""The IDs of dead letters, and the names of their sinks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.cli.storage import CannotUse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def read_id(text: str) -> tuple[str, int]:
    """The sink and the position that an ID such as ``kafka/17`` names.

    :raises CannotUse: it is none.
    """
    sink, _, number = text.rpartition("/")
    if not sink or not number.isascii() or not number.isdigit():
        raise CannotUse(f'"{text}" is no ID of a letter; it must be a sink and a number, such as kafka/17', 2)
    return sink, int(number)


def letters_of(ids: Iterable[str]) -> dict[str, list[int]]:
    """The positions that IDs name, by sink.

    :raises CannotUse: one is no ID.
    """
    letters: dict[str, list[int]] = {}
    for each in ids:
        sink, position = read_id(each)
        letters.setdefault(sink, []).append(position)
    return letters


def check_sink(sink: str, known: Collection[str]) -> None:
    """Check that there are dead letters of a sink.

    :raises CannotUse: there are none.
    """
    from fleetgw.adapters.settings.spelling import did_you_mean

    if sink not in known:
        advice = did_you_mean(sink, known) if known else "there are none of any sink"
        raise CannotUse(f'there are no dead letters of a sink "{sink}"; {advice}', 2)
