"""The golden files of dead letters, and how they were made.

``python -m tests.support.dead_letters_golden FOLDER`` makes those of the present version: for a new version only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.adapters.dead_letters.stores import DeadLetterStores
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.spool_case import WALL_S, ThreadClock
from tests.support.spool_golden import golden_records
from tests.support.workers import InlineWorker

if TYPE_CHECKING:
    from collections.abc import Collection

GOLDEN = Path(__file__).parent.parent / "vectors" / "dead_letters"
SINKS = ("kafka", "my/s\udcffink")
REASON = "too large \u00fc\udcff"


def make_stores(path: str, sinks: Collection[str] = SINKS, max_bytes: int = 1_000_000) -> DeadLetterStores:
    """Stores whose threads run inline, at ``WALL_S``; not started."""
    log, metrics = ReadableLog(), ReadableMetrics()
    stores = DeadLetterStores(path, max_bytes, ThreadClock(), metrics, log, wall_s=lambda: WALL_S, make_worker=InlineWorker)
    for sink in sinks:
        stores.of(sink)
    return stores


def make(path: str) -> None:
    """Write the files: three letters for each sink, of which the second one was removed."""
    stores = make_stores(path)
    stores.start()
    for letters in stores.sinks.values():
        for record in golden_records():
            letters.store(record, REASON)
        letters.remove([range(2, 3)])
    stores.stop()


if __name__ == "__main__":
    make(sys.argv[1])
