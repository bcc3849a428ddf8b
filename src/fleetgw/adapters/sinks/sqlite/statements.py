"""INSERT statements of many rows, and the SQL of the table ``latest``.

Python releases its lock (GIL) at every step of a statement. With a step for each row, the writer would wait for a busy
reactor once a row, up to 5 ms each; a statement of some hundred rows is one step.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.sinks.sqlite.latest import UNKNOWN_DIGITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from fleetgw.adapters.sinks.sqlite.latest import Cell

_ROWS_AT_ONCE = (256, 32, 4, 1)
"""Numbers of rows in a statement: few, so that each statement stays prepared."""

STATEMENT_BYTES = 2_000_000
"""Most text in a statement of several rows: Python holds its lock while it copies the cells, some 0.5 ms a megabyte."""


@frozen
class Insert:
    """An INSERT into one table.

    :ivar on_conflict: the clause for a row that exists, as a vehicle may send a record again.
    """

    table: str
    columns: tuple[str, ...]
    on_conflict: str = "DO NOTHING"


INSERTS = (
    Insert("record", ("vehicle_id", "created_at_ms", "received_at_ms", "txid", "signals", "content_hash")),
    Insert(
        "alert",
        ("vehicle_id", "name", "started_at_ms", "ended_at_ms", "audiences", "received_at_ms", "occurrence"),
        "DO UPDATE SET ended_at_ms = coalesce(excluded.ended_at_ms, ended_at_ms), audiences = excluded.audiences",
    ),
    Insert("error", ("vehicle_id", "created_at_ms", "received_at_ms", "name", "body", "tags", "content_hash")),
    Insert(
        "connectivity_event",
        ("vehicle_id", "created_at_ms", "received_at_ms", "status", "connection_id", "network_interface"),
    ),
    Insert("custom_record", ("vehicle_id", "received_at_ms", "record_type", "txid", "payload", "content_hash")),
)

LATEST = Insert(
    "latest",
    ("vehicle_id", "field", "created_at_ms", "value", "type"),
    "DO UPDATE SET created_at_ms = excluded.created_at_ms, value = excluded.value, type = excluded.type"
    " WHERE excluded.created_at_ms >= created_at_ms",
)


@lru_cache(64)
def _sql(statement: Insert, rows: int) -> str:
    marks = f"({', '.join('?' * len(statement.columns))})"
    return (
        f"INSERT INTO {statement.table} ({', '.join(statement.columns)}) VALUES {', '.join([marks] * rows)}"  # noqa: S608  constants
        f" ON CONFLICT {statement.on_conflict}"
    )


def insert(connection: apsw.Connection, statement: Insert, cells: Sequence[Cell]) -> None:
    """Insert rows.

    :param cells: of all rows, one row after the other.
    """
    width = len(statement.columns)
    start, left = 0, len(cells) // width
    while left:
        for rows in _ROWS_AT_ONCE:
            if rows <= left:
                some = cells[start : start + rows * width]
                if rows == 1 or sum([len(cell) for cell in some if isinstance(cell, (str, bytes))]) <= STATEMENT_BYTES:
                    break
        connection.execute(_sql(statement, rows), some)
        start, left = start + rows * width, left - rows


_REBUILD = f"""
INSERT INTO latest (vehicle_id, field, created_at_ms, value, type)
SELECT vehicle_id, key, max(created_at_ms), value, type
FROM record, json_each(signals)
WHERE record.id > (SELECT latest_through FROM progress)
  AND (key GLOB '[A-Za-z]*' OR (length(key) <= {UNKNOWN_DIGITS} AND key NOT GLOB '*[^0-9]*'))
GROUP BY vehicle_id, key
ON CONFLICT {LATEST.on_conflict}
"""  # noqa: S608  constants only


def rebuild_latest(connection: apsw.Connection) -> None:
    """Update ``latest`` from the records in the file, of any process; to be called within a transaction."""
    connection.execute(_REBUILD)
    mark_latest_current(connection)


def mark_latest_current(connection: apsw.Connection) -> None:
    """Note that ``latest`` includes every record; to be called within the transaction that has updated it."""
    connection.execute("UPDATE progress SET latest_through = (SELECT coalesce(max(id), 0) FROM record)")


def update_latest_if_behind(connection: apsw.Connection) -> None:
    """Update ``latest`` if the last run ended before it could."""
    owes = "SELECT (SELECT coalesce(max(id), 0) FROM record) > (SELECT latest_through FROM progress)"
    if not connection.execute(owes).get:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        rebuild_latest(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
