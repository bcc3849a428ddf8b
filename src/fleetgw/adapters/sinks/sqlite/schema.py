"""The tables and views of the file, as a sequence of migrations.

Each migration is written out in full, also where it repeats columns of an earlier one: files of every version exist, and a
migration must never change with the next one.
"""

TABLES_BY_AGE = ("record", "alert", "error", "connectivity_event", "custom_record")
"""The tables with retention; each has an ``id``, in order of arrival, and ``received_at_ms``."""

_MOMENT = "strftime('%Y-%m-%dT%H:%M:%fZ', {} / 1000.0, 'unixepoch')"


def _moment(column: str) -> str:
    return _MOMENT.format(column)


_VIEWS = f"""
CREATE VIEW signals AS
SELECT vin, {_moment("created_at_ms")} AS created_at, key AS field, value, type, created_at_ms, received_at_ms, txid
FROM record JOIN vehicle ON vehicle.id = vehicle_id, json_each(signals);

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
"""The views of tables whose rows have a key of their content."""

_TABLES_1 = """
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

"""

_VERSION_1 = f"""
{_TABLES_1}
CREATE VIEW latest_signals AS
SELECT vin, field, value, type, {_moment("created_at_ms")} AS created_at, created_at_ms
FROM latest JOIN vehicle ON vehicle.id = vehicle_id;

{_VIEWS}
"""  # noqa: S608  constants only

_VERSION_2 = f"""
DROP VIEW signals;
DROP VIEW alerts;
DROP VIEW errors;
DROP VIEW connectivity;
DROP VIEW custom_records;

CREATE TABLE new_record (          -- one row per V record
  id INTEGER PRIMARY KEY,          -- in order of arrival
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,  -- by the vehicle's clock, epoch milliseconds
  received_at_ms INTEGER NOT NULL, -- by the gateway's
  txid TEXT,                       -- as the vehicle sent it; NULL when it sent none
  signals TEXT NOT NULL,           -- JSON object: field name to value
  content_hash INTEGER,            -- of txid and signals; NULL without a txid: each such record is kept
  UNIQUE (vehicle_id, created_at_ms, content_hash)
);
INSERT INTO new_record
SELECT id, vehicle_id, created_at_ms, received_at_ms, txid, signals,
  CASE WHEN txid IS NOT NULL THEN content_hash(txid, signals) END FROM record ORDER BY id;
DROP TABLE record;
ALTER TABLE new_record RENAME TO record;

CREATE TABLE new_alert (           -- one row per occurrence; a later report of its end goes into the same row
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  name TEXT NOT NULL,
  started_at_ms INTEGER NOT NULL,
  ended_at_ms INTEGER,             -- NULL while it lasts
  audiences TEXT NOT NULL,         -- JSON list of names
  received_at_ms INTEGER NOT NULL, -- its first report
  occurrence INTEGER NOT NULL,     -- nanoseconds of its start beyond started_at_ms; a hash of its report without a start
  UNIQUE (vehicle_id, name, started_at_ms, occurrence)
);
INSERT INTO new_alert
SELECT id, vehicle_id, name, started_at_ms, ended_at_ms, audiences, received_at_ms, 0 FROM alert ORDER BY id;
DROP TABLE alert;
ALTER TABLE new_alert RENAME TO alert;

CREATE TABLE new_error (
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  name TEXT NOT NULL,
  body TEXT NOT NULL,
  tags TEXT NOT NULL,              -- JSON object of texts
  content_hash INTEGER NOT NULL,   -- of body and tags; without a time of its own also of its report
  UNIQUE (vehicle_id, created_at_ms, name, content_hash)
);
INSERT INTO new_error
SELECT id, vehicle_id, created_at_ms, received_at_ms, name, body, tags, content_hash(body, tags) FROM error ORDER BY id;
DROP TABLE error;
ALTER TABLE new_error RENAME TO error;

CREATE TABLE new_connectivity_event (
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  created_at_ms INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  status TEXT NOT NULL,            -- CONNECTED or DISCONNECTED
  connection_id TEXT NOT NULL,
  network_interface TEXT NOT NULL,
  UNIQUE (vehicle_id, created_at_ms, connection_id, status, network_interface)
);
INSERT INTO new_connectivity_event
SELECT id, vehicle_id, created_at_ms, received_at_ms, status, connection_id, network_interface
FROM connectivity_event ORDER BY id;
DROP TABLE connectivity_event;
ALTER TABLE new_connectivity_event RENAME TO connectivity_event;

CREATE TABLE new_custom_record (   -- records of types of your own
  id INTEGER PRIMARY KEY,
  vehicle_id INTEGER NOT NULL,
  received_at_ms INTEGER NOT NULL,
  record_type TEXT NOT NULL,
  txid TEXT,
  payload BLOB NOT NULL,
  content_hash INTEGER,            -- of record type, txid and payload; NULL without a txid: each such record is kept
  UNIQUE (vehicle_id, content_hash)
);
INSERT INTO new_custom_record
SELECT id, vehicle_id, received_at_ms, record_type, txid, payload,
  CASE WHEN txid IS NOT NULL THEN content_hash(record_type, txid, payload) END FROM custom_record ORDER BY id;
DROP TABLE custom_record;
ALTER TABLE new_custom_record RENAME TO custom_record;
{_VIEWS}
"""  # noqa: S608  constants only

MIGRATIONS = (_VERSION_1, _VERSION_2)
"""Migration ``n``, from 0, turns a file of version ``n`` into one of version ``n + 1``."""

VERSION = len(MIGRATIONS)
