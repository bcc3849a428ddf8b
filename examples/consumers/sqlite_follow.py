"""Show signals as the gateway records them: python sqlite_follow.py FILE [FIELD ...]"""

import argparse
import sqlite3
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("file", help="sqlite.path of the gateway's configuration")
parser.add_argument("fields", nargs="*", help="only these, such as Soc")
parser.add_argument("--from-start", action="store_true", help="begin with the oldest record, not with the next one")
parser.add_argument("--count", type=int, help="end after so many records")
options = parser.parse_args()

# Read only; each query is a transaction of its own, so the gateway's log of changes never has to wait for us.
records = sqlite3.connect(f"file:{options.file}?mode=ro", uri=True)
last = 0 if options.from_start else records.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()[0]
left = options.count
while left is None or left > 0:
    rows = records.execute(
        """
        SELECT record.id, vin, created_at_ms, key, value
        FROM (SELECT * FROM record WHERE id > ? ORDER BY id LIMIT ?) record
        JOIN vehicle ON vehicle.id = vehicle_id, json_each(signals)
        """,
        (last, 1000 if left is None else min(1000, left)),
    ).fetchall()
    for _, vin, created_at_ms, field, value in rows:
        if not options.fields or field in options.fields:
            print(created_at_ms, vin, field, value, flush=True)
    if rows:
        left = None if left is None else left - len({row[0] for row in rows})
        last = max(row[0] for row in rows)
    else:
        time.sleep(0.5)
