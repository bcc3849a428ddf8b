"""Reads the file of the ``sqlite`` sink, also while the sink writes it: readers do not block the writer."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
from attrs import frozen

from fleetgw.adapters.settings.spelling import closest
from fleetgw.adapters.sinks.sqlite.file_version import READABLE_FROM, ForeignFile, check_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fleetgw.adapters.codec.datum import JsonValue


_LOCK_WAIT_S = 5
_READ_ONLY = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI


class CannotRead(Exception):
    """A file, vehicle or field cannot be read. ``str()`` has the reason, and advice."""


@frozen
class VehicleSummary:
    """One vehicle in the file.

    :ivar fields: number of fields that it has ever sent.
    :ivar last_ms: time of its latest signal, epoch milliseconds; None when it has sent none.
    :ivar status: of its latest connectivity record; empty when there is none.
    """

    vin: str
    fields: int
    last_ms: int | None
    status: str


@frozen
class Signal:
    """One value of one field. ``created_at_ms``: epoch milliseconds, by the vehicle's clock."""

    field: str
    created_at_ms: int
    value: JsonValue


@frozen
class Alert:
    """One occurrence of an alert; ``ended_at_ms`` is None while it lasts."""

    vin: str
    name: str
    started_at_ms: int
    ended_at_ms: int | None
    audiences: tuple[str, ...]


class RecordFile:
    """An open file. Use ``open_file``."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def vehicles(self) -> list[VehicleSummary]:
        """Every vehicle, the one with the latest signal first."""
        rows = self._connection.execute(
            """
            SELECT vin, count(field), max(created_at_ms), coalesce((
              SELECT status FROM connectivity_event c WHERE c.vehicle_id = vehicle.id
              ORDER BY c.created_at_ms DESC, c.id DESC LIMIT 1), '')
            FROM vehicle LEFT JOIN latest ON latest.vehicle_id = vehicle.id
            GROUP BY vehicle.id ORDER BY 3 DESC, vin
            """
        )
        return [VehicleSummary(*row) for row in rows]

    def latest(self, vin: str) -> list[Signal]:
        """The latest value of every field of a vehicle, by field name.

        :raises CannotRead: there is no such vehicle.
        """
        rows = self._connection.execute(
            "SELECT field, created_at_ms, value, type FROM latest WHERE vehicle_id = ? ORDER BY field", (self._id(vin),)
        )
        return [Signal(field, created_at_ms, _json_value(value, kind)) for field, created_at_ms, value, kind in rows]

    def history(self, vin: str, field: str, since_ms: int, until_ms: int) -> list[Signal]:
        """The values of a field, oldest first, from ``since_ms`` until before ``until_ms`` (epoch milliseconds).

        :raises CannotRead: there is no such vehicle, or it has never sent the field.
        """
        vehicle_id = self._id(vin)
        known = [
            name for (name,) in self._connection.execute("SELECT field FROM latest WHERE vehicle_id = ?", (vehicle_id,))
        ]
        if field not in known:
            raise CannotRead(f"{vin} has sent no {field}; {_advice(field, known, 'it has sent')}")
        rows = self._connection.execute(
            """
            SELECT record.created_at_ms, value, type FROM record, json_each(signals)
            WHERE vehicle_id = ? AND record.created_at_ms >= ? AND record.created_at_ms < ? AND key = ?
            ORDER BY record.created_at_ms, record.id
            """,
            (vehicle_id, since_ms, until_ms, field),
        )
        return [Signal(field, created_at_ms, _json_value(value, kind)) for created_at_ms, value, kind in rows]

    def alerts(self, vin: str | None, since_ms: int, until_ms: int) -> list[Alert]:
        """Alerts that began from ``since_ms`` until before ``until_ms``, latest first; of all vehicles when ``vin`` is None.

        :raises CannotRead: there is no such vehicle.
        """
        rows = self._connection.execute(
            """
            SELECT vin, name, started_at_ms, ended_at_ms, audiences FROM alerts
            WHERE started_at_ms >= ? AND started_at_ms < ? AND (? IS NULL OR vin = ?)
            ORDER BY started_at_ms DESC, name
            """,
            (since_ms, until_ms, None if vin is None else self._vin(vin), vin),
        )
        return [
            Alert(of_vin, name, started_at_ms, ended_at_ms, tuple(json.loads(audiences)))
            for of_vin, name, started_at_ms, ended_at_ms, audiences in rows
        ]

    def _vin(self, vin: str) -> str:
        self._id(vin)
        return vin

    def _id(self, vin: str) -> int:
        row = self._connection.execute("SELECT id FROM vehicle WHERE vin = ?", (vin,)).fetchone()
        if row is None:
            known = [name for (name,) in self._connection.execute("SELECT vin FROM vehicle ORDER BY vin")]
            raise CannotRead(f"no vehicle {vin}; {_advice(vin, known, 'there are')}")
        return int(row[0])


@contextmanager
def open_file(path: Path) -> Iterator[RecordFile]:
    """Open the file for reading; all reads within one ``with`` see the same commit.

    :raises CannotRead: there is no such file, or another program made it, or it is damaged.
    """
    if not path.is_file():
        raise CannotRead(f"there is no file {path}; name the one that sqlite.path of the configuration names, with --db")
    try:
        with closing(_connect(path)) as connection:
            if check_version(connection) < READABLE_FROM:
                raise ForeignFile("it holds no records yet; start the gateway once")
            connection.execute("BEGIN")
            yield RecordFile(connection)
    except ForeignFile as error:
        raise CannotRead(f"{path}: {error}") from error
    except apsw.Error as error:
        raise CannotRead(f"{path} cannot be read: {error}") from error


def open_read_only(path: Path, wait_s: float) -> apsw.Connection:
    """Open the file, which must exist.

    :param wait_s: how long statements wait for a lock, in seconds.
    :raises apsw.Error: it cannot be opened.
    """
    connection = apsw.Connection(f"{path.absolute().as_uri()}?mode=ro", flags=_READ_ONLY)
    connection.set_busy_timeout(int(wait_s * 1000))
    return connection


def _connect(path: Path) -> apsw.Connection:
    """Open the file for reading.

    :raises apsw.Error: it cannot be read.
    :raises CannotRead: this user may not read it while it has no writer.
    """
    connection = open_read_only(path, wait_s=_LOCK_WAIT_S)
    try:
        connection.execute("PRAGMA schema_version")  # reads the file for the first time
    except (apsw.ReadOnlyError, apsw.CantOpenError) as error:
        connection.close()
        # without a writer, a reader has to create the files -wal and -shm, and has no right to
        if Path(f"{path}-wal").exists():
            problem = "its -wal and -shm files are not for you to use; ask as the user that the gateway runs as"
            raise CannotRead(f"{path} cannot be read: {problem}") from error
        return apsw.Connection(f"{path.absolute().as_uri()}?immutable=1", flags=_READ_ONLY)
    return connection


def _json_value(value: str | float | None, kind: str) -> JsonValue:
    match kind:
        case "true" | "false":
            return kind == "true"
        case "object" | "array":
            read: JsonValue = json.loads(str(value))
            return read
        case _:
            return value


def _advice(name: str, known: Sequence[str], otherwise: str) -> str:
    """The closest of the known names, or a list of them.

    :param otherwise: the beginning of a sentence that lists them.
    """
    if similar := closest(name, known, 3):
        return f"did you mean {' or '.join(similar)}?"
    if not known:
        return f"{otherwise} none yet"
    shown = ", ".join(sorted(known)[:8])
    return f"{otherwise} {shown}" + (f" and {len(known) - 8} more" if len(known) > 8 else "")
