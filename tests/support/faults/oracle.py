"""The oracle of every fault: no acknowledged record is lost, none is invented, none is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from tests.support.faults.records import Delivered, is_whole

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_SHOWN = 5


@frozen
class Account:
    """The numbers of records after a fault.

    :ivar copies: delivered records that were delivered before, too.
    """

    issued: int
    acked: int
    delivered: int
    copies: int
    dead_letters: int
    spooled: int


def check_account(
    issued: Collection[bytes],
    acked: Collection[bytes],
    delivered: Iterable[Delivered],
    dead_letters: Collection[bytes] = (),
    spooled: Collection[bytes] = (),
) -> Account:
    """Compare what the vehicles have noted with what the destination has.

    :param issued: txids of all records that vehicles sent.
    :param acked: txids that were acknowledged.
    :param delivered: all that a consumer of the destination has got, copies included.
    :param dead_letters: txids whose payload is in the dead letters, in the log or on disk.
    :param spooled: txids that the spool still holds.
    :raises AssertionError: a record was acknowledged and is nowhere, was never issued, or has another's payload.
    """
    total, seen = 0, set[bytes]()
    for record in delivered:
        total += 1
        seen.add(record.txid)
        if not is_whole(record):
            raise AssertionError(f"the payload is not the record's: {record}")
    issued, acked = set(issued), set(acked)
    _none("acknowledged and lost", acked - seen - set(dead_letters) - set(spooled))
    _none("delivered and never issued", (seen | set(spooled) | set(dead_letters)) - issued)
    _none("acknowledged and never issued", acked - issued)
    return Account(len(issued), len(acked), len(seen), total - len(seen), len(set(dead_letters)), len(set(spooled)))


def _none(fault: str, txids: set[bytes]) -> None:
    if txids:
        raise AssertionError(f"{len(txids)} records {fault}, such as {sorted(txids)[:_SHOWN]}")
