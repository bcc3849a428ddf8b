"""A third party's sink for gateway processes: files in the working directory say what it does with records.

While there is a file ``reject`` it rejects all records; while there is a file ``away`` it cannot be reached. The txids of
those that it takes are lines of the file ``taken``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.memory.settings import Memory
from fleetgw.adapters.sinks.memory.sink import MemorySink
from fleetgw.adapters.sinks.sink_type import SinkType
from fleetgw.domain.errors import NotConnected, Rejected

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record


class JudgingSink(MemorySink):
    """Rejects and takes as the files say."""

    def __init__(self, context: SinkContext) -> None:
        super().__init__(context)
        self.verdict = self.judge

    def judge(self, record: Record) -> DeliveryError | None:
        """The outcome of one record."""
        if Path("away").exists():
            return NotConnected("away")
        if Path("reject").exists():
            return Rejected(f"too large: {Path('reject').read_text()}")
        with Path("taken").open("ab") as taken:
            taken.write(record.txid + b"\n")
        return None


SINK: SinkType[Memory] = SinkType(name="judging", settings=Memory, make=JudgingSink)
