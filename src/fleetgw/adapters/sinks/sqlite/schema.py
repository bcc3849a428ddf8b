"""The file's tables and views, their version, and how an older file becomes a newer one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

APPLICATION_ID = 0x666C6777  # "flgw": tells our files from other programs'

MIN_SQLITE = (3, 38)
"""The first version with JSON functions always built in."""

TABLES_BY_AGE = ("record", "alert", "error", "connectivity_event", "custom_record")
"""The tables that retention cuts; each has ``id`` in order of arrival, and ``received_at_ms``."""

_MOMENT = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"


def _moment(column: str) -> str:
    return _MOMENT.format(column)


_VERSION_1 = f"""
CREATE TABLE vehicle (
  id INTEGER PRIMARY KEY,
  vin TEXT NOT NULL UNIQUE
);

CREATE TABLE record (              -- one row per V record
  id INTEGER PRIMARY KEY,          -- in order of arrival
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,  -- by the vehicle's clock, epoch milliseconds
  received_at_ms INTEGER NOT NULL, -- by the gateway's
  txid TEXT,                       -- as the vehicle sent it; NULL when it sent none
  signals TEXT NOT NULL,           -- JSON object: field name to value
  UNIQUE (vehicle_id, created_at_ms, txid)
);

CREATE TABLE latest (              -- the latest value of every field of every vehicle
  vehicle_id INTEGER NOT NULL,
  field TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL,
  value,                           -- as json_each gives it: objects are JSON text, booleans 0 or 1
  type TEXT NOT NULL,              -- as json_each gives it: integer real text true false object null
  PRIMARY KEY (vehicle_id, field)
) WITHOUT ROWID;

CREATE TABLE progress (            -- one row: latest holds the records up to this id
  latest_through INTEGER NOT NULL
);
INSERT INTO progress VALUES (0);

CREATE TABLE alert (               -- one row per occurrence; a later report of its end goes into the same row
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,             -- NULL while it lasts
  audiences TEXT NOT NULL,         -- JSON list of names
  received_at_ms INTEGER NOT NULL, -- its first report
  UNIQUE (vehicle_id, name, started_at_ms)
);

CREATE TABLE error (
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  tags TEXT NOT NULL,              -- JSON object of texts
  UNIQUE (vehicle_id, created_at_ms, name, body, tags)
);

CREATE TABLE connectivity_event (
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  status TEXT NOT NULL,            -- CONNECTED or DISCONNECTED
  connection_id TEXT NOT NULL,
  network_interface TEXT NOT NULL,
  UNIQUE (vehicle_id, created_at_ms, connection_id, status)
);

CREATE TABLE custom_record (       -- records of types of your own
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  record_type TEXT NOT NULL,
  txid TEXT,
  payload_crc32 INTEGER NOT NULL,
  payload BLOB NOT NULL,
  UNIQUE (vehicle_id, record_type, txid, payload_crc32)
);

CREATE VIEW signals AS
SELECT vin, {_moment("created_at_ms")} AS created_at, key AS field, value, type, created_at_ms, received_at_ms, txid
FROM record JOIN vehicle ON vehicle.id = vehicle_id, json_each(signals);

CREATE VIEW latest_signals AS
SELECT vin, field, value, type, {_moment("created_at_ms")} AS created_at, created_at_ms
FROM latest JOIN vehicle ON vehicle.id = vehicle_id;

CREATE VIEW alerts AS
SELECT vin, name, {_moment("started_at_ms")} AS started_at, {_moment("ended_at_ms")} AS ended_at, audiences,
  started_at_ms, ended_at_ms
FROM alert JOIN vehicle ON vehicle.id = vehicle_id;

CREATE VIEW errors AS
SELECT vin, {_moment("created_at_ms")} AS created_at, name, body, tags, created_at_ms
FROM error JOIN vehicle ON vehicle.id = vehicle_id;

CREATE VIEW connectivity AS
SELECT vin, {_moment("created_at_ms")} AS created_at, status, connection_id, network_interface, created_at_ms
FROM connectivity_event JOIN vehicle ON vehicle.id = vehicle_id;

CREATE VIEW custom_records AS
SELECT vin, {_moment("received_at_ms")} AS received_at, record_type, txid, payload, received_at_ms
FROM custom_record JOIN vehicle ON vehicle.id = vehicle_id;
"""  # noqa: S608  constants only

MIGRATIONS = (_VERSION_1,)
"""Migration ``n`` (from 0) takes a file of version ``n`` to version ``n + 1``; what is published is never changed."""

VERSION = len(MIGRATIONS)


class ForeignFile(Exception):
    """The file is not ours to write, or not any more. ``str()`` says why."""


def check_version(connection: sqlite3.Connection) -> int:
    """The version of an open file, 0 when it is empty.

    :raises ForeignFile: another program's, or of a version that is not known here.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application_id: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application_id != APPLICATION_ID and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise ForeignFile("it is a database of another program; name another file")
    if version > VERSION:
        raise ForeignFile(
            f"it has version {version}, this fleetgw knows up to {VERSION}; upgrade fleetgw, or name another file"
        )
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an open file up to date, in one transaction.

    :raises ForeignFile: as ``check_version``.
    """
    if check_version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        for script in MIGRATIONS[check_version(connection) :]:  # asked again: another process may have been first
            for statement in _statements(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    # executescript() would commit before each
    return [statement for statement in script.split(";\n") if statement.strip()]
