"""Dead letters of a lane: records that no retry can deliver. They go to the dead-letter store, otherwise to the log."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from fleetgw.app.pipeline.confirmations import confirm
from fleetgw.domain.ledger import Kept
from fleetgw.domain.line_limit import cut
from fleetgw.domain.metrics import DEAD_LETTER_STORED_TOTAL, DEAD_LETTER_TOTAL
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.app.pipeline.accounts import SinkAccountsByType
    from fleetgw.app.pipeline.confirmations import AwaitsConfirmation
    from fleetgw.domain.errors import StorageError
    from fleetgw.domain.ports import IDeadLetters, ILog, IMetrics
    from fleetgw.domain.records import Record


@frozen(eq=False)
class Undelivered:
    """A record that becomes a dead letter.

    :ivar origin: waits for the record's confirmation; None when nothing does, or when it knows already.
    :ivar is_left: the queue held it when the gateway stopped.
    """

    record: Record
    reason: str
    origin: AwaitsConfirmation | None
    is_left: bool = False


class DeadLetters:
    """Takes the dead letters of one sink.

    A record that is stored settles as if the sink had confirmed it. Without a store, or where a record could not be stored,
    the record's origin hears that it is refused, and the log gets it.

    :param dispatcher: the sink's name.
    :param accounts: the ledger's accounts of the sink.
    :param monotonic: seconds, never going back.
    :param store: None for the log alone.
    """

    def __init__(
        self,
        dispatcher: str,
        metrics: IMetrics,
        accounts: SinkAccountsByType,
        log: ILog,
        monotonic: Callable[[], float],
        store: IDeadLetters | None,
    ) -> None:
        self._dispatcher = dispatcher
        self._accounts = accounts
        self._log = log
        self._vehicle_log = VehicleLog(log, monotonic)
        self._total = metrics.counter(DEAD_LETTER_TOTAL, dispatcher=dispatcher)
        self._stored_total = metrics.counter(DEAD_LETTER_STORED_TOTAL, dispatcher=dispatcher)
        self._store = store
        self._waiting: dict[Undelivered, Callable[[], None]] = {}
        self._idle: list[Deferred[None]] = []

    @property
    def held_records(self) -> int:
        """Number of records that the store has not answered for."""
        return len(self._waiting)

    def add(self, letters: Sequence[Undelivered], settled: Callable[[], None]) -> None:
        """Store records, or log them. ``settled`` is called each time that the store has answered."""
        store = self._store
        if store is None:
            for letter in letters:
                self._refuse(letter)
            return
        self._waiting.update(dict.fromkeys(letters, settled))  # all of them before the first answer, which may come at once
        for letter in letters:
            store.store(letter.record, letter.reason).addCallback(self._answered, letter)

    def stored(self) -> Deferred[None]:
        """Wait for the store: fires once it has answered for all records. Cancelling it gives those up: they are logged."""
        if not self._waiting:
            return succeed(None)
        idle: Deferred[None] = Deferred(lambda _: self._give_up())
        self._idle.append(idle)
        return idle

    def _give_up(self) -> None:
        for letter in [*self._waiting]:
            self._end(letter, is_stored=False)

    def _answered(self, failure: StorageError | None, letter: Undelivered) -> None:
        if letter in self._waiting:
            self._end(letter, is_stored=failure is None)

    def _end(self, letter: Undelivered, *, is_stored: bool) -> None:
        settled = self._waiting.pop(letter)
        if is_stored:
            self._note_stored(letter)
        else:
            self._refuse(letter)
        settled()
        if not self._waiting:
            idle, self._idle = self._idle, []
            for each in idle:
                each.callback(None)

    def _note_stored(self, letter: Undelivered) -> None:
        record = letter.record
        self._total.add(1)
        self._stored_total.add(1)
        self._accounts[record.record_type].dead_letter(Kept.STORE)
        self._vehicle_log.error(
            "dead_letter",
            record.vin,
            lambda: {"dispatcher": self._dispatcher, "error": letter.reason, "stored": True, **_brief(record)},
        )
        if letter.origin is not None:
            confirm(letter.origin, [record], self._dispatcher, self._log)

    def _refuse(self, letter: Undelivered) -> None:
        """Tell the origin, count and log.

        A record that is never acknowledged is sent again by its vehicle. Otherwise it may be acknowledged, now or later,
        and the log line, with the whole payload, is the last copy.
        """
        record, origin = letter.record, letter.origin
        resends = origin is not None and origin.refused(record)
        self._total.add(1)
        account = self._accounts[record.record_type]
        if letter.is_left:
            account.give_up(is_lost=True)
        else:
            account.dead_letter(Kept.VEHICLE if resends else Kept.LOG)
        fields = {"dispatcher": self._dispatcher, "error": letter.reason, "vehicle_resends": resends}
        if resends:
            self._vehicle_log.error("dead_letter", record.vin, lambda: fields | _brief(record))
        else:
            payload = base64.b64encode(record.payload).decode()
            self._log.error("dead_letter", **fields, metadata=record.metadata(), payload_base64=payload)


def _brief(record: Record) -> dict[str, object]:
    metadata = {key: cut(value) for key, value in record.metadata().items()}
    return {"metadata": metadata, "payload_bytes": len(record.payload)}
