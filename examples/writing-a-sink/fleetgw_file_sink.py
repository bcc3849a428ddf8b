"""A sink that appends records to a file, one JSON object a line. Delivered means: on disk."""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.dispatch import Answer
from fleetgw.domain.errors import ConfigurationError, DeliveryError, NotConnected, Problem, Rejected, Retryable
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Outcome, Readiness, Ready, Receipt
from fleetgw.domain.records import Record

WRITTEN_TOTAL = Metric("file_written_total", Kind.COUNTER, "Records written to the file.", ("record_type",))
NOT_RUNNING = NotConnected("the file sink is not running")
GIVEN_UP = Retryable("the file sink was stopped before the record was on disk")


@implementer(IDispatcher)
class FileSink:
    """Settings: ``path``, the file. What comes while a write is under way goes to disk together in the next one."""

    def __init__(self, context: SinkContext) -> None:
        path = context.settings.get("path")
        if not isinstance(path, str) or not path:
            where = f"dispatchers.{context.name}.settings.path"
            raise ConfigurationError([Problem(where, f"is {path!r}", "name the file that records are appended to")])
        self.name = context.name
        self._path = Path(path)
        self._reactor = context.reactor
        self._counters = {kind: context.metrics.counter(WRITTEN_TOTAL, record_type=kind) for kind in context.record_types}
        self._running = False
        self._trouble: DeliveryError | None = None
        self._waiting: list[tuple[Sequence[Record], Answer]] = []
        self._writing: list[tuple[Sequence[Record], Answer]] = []
        self._stopped: Deferred[None] | None = None

    def start(self) -> Deferred[None]:
        self._running = True
        return succeed(None)

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        if not self._running:
            return succeed([NOT_RUNNING] * len(batch))
        answer = Answer()
        self._waiting.append((batch, answer))
        self._write_next()
        return answer

    def stop(self) -> Deferred[None]:
        self._running = False
        self._stopped = Deferred(lambda _: self._give_up())
        self._end_when_idle()
        return self._stopped

    def readiness(self) -> Readiness:
        trouble = self._trouble if self._running else NOT_RUNNING
        return Ready() if trouble is None else NotReady(str(trouble))

    def _write_next(self) -> None:
        if self._waiting and not self._writing:
            self._writing, self._waiting = self._waiting, []
            lines = [line(record) for batch, _ in self._writing for record in batch if record.record_type in self._counters]
            self._reactor.callInThread(self._append, b"".join(lines))

    def _append(self, content: bytes) -> None:
        """In a thread: the disk may take its time, the reactor may not."""
        trouble = None
        try:
            with self._path.open("ab") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            trouble = NotConnected(f"{self._path}: {error.strerror}")
        self._reactor.callFromThread(self._appended, trouble)

    def _appended(self, trouble: DeliveryError | None) -> None:
        self._trouble = trouble
        written, self._writing = self._writing, []
        for batch, answer in written:
            answer.callback([self._outcome(record, trouble) for record in batch])
        self._write_next()
        self._end_when_idle()

    def _outcome(self, record: Record, trouble: DeliveryError | None) -> Receipt | DeliveryError:
        counter = self._counters.get(record.record_type)
        if counter is None:
            return Rejected(f"{record.record_type} is not routed to {self.name}")
        if trouble is not None:
            return trouble
        counter.add(1)
        return RECEIPT

    def _give_up(self) -> None:
        left = self._writing + self._waiting
        self._writing, self._waiting = [], []
        for batch, answer in left:
            answer.callback([GIVEN_UP] * len(batch))
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._stopped is not None and not self._stopped.called and not self._writing and not self._waiting:
            self._stopped.callback(None)


def line(record: Record) -> bytes:
    """A record as a line; the payload is protobuf, or JSON with ``transmit_decoded_records``: either goes as base64."""
    return json.dumps({**record.metadata(), "payload": base64.b64encode(record.payload).decode()}).encode() + b"\n"
