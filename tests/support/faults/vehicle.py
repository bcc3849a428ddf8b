"""Vehicles that issue records, note which are acknowledged, and send the others again."""

from __future__ import annotations

import contextlib
import time
from itertools import count
from threading import Event, Thread
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.codec import envelope
from tests.support.deadline import DEADLINE_S
from tests.support.faults.connection import BINARY, CLOSE, Connection
from tests.support.faults.records import frame, message

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType
    from typing import Self

_TICK_S = 0.01
_RECONNECT_S = 0.05


@frozen
class Habits:
    """The way in which a vehicle sends.

    :ivar rate: records a second.
    :ivar window: highest number of unacknowledged records; a vehicle that has so many issues none.
    :ivar resend_after_s: seconds after which an unacknowledged record is sent again; None: on a new connection only.
    :ivar record_types: of its records, in turn.
    """

    rate: float = 100.0
    window: int = 500
    resend_after_s: float | None = 2.0
    record_types: Sequence[str] = ("V",)


class Vehicle(Thread):
    """One vehicle in a thread of its own. It connects again whenever its connection ends, until ``end``.

    :ivar record_types: those of its habits.
    :ivar issued: txids in the order in which they were issued -> monotonic time of the first copy.
    :ivar acked: acknowledged txids -> monotonic time of the acknowledgement.
    :ivar refused: txids with an error reply.
    :ivar connects: number of connections that were open.
    :ivar closes: codes of the close frames that came.
    :ivar strays: number of acknowledgements of records that were never issued here.
    """

    def __init__(self, vin: str, address: tuple[str, int], tls: ssl.SSLContext, habits: Habits) -> None:
        super().__init__(name=vin, daemon=True)
        self.vin = vin
        self.issued: dict[bytes, float] = {}
        self.acked: dict[bytes, float] = {}
        self.refused: set[bytes] = set()
        self.connects = 0
        self.closes: list[int] = []
        self.strays = 0
        self.record_types = habits.record_types
        self._address = address
        self._tls = tls
        self._habits = habits
        self._numbers = count()
        self._unacked: dict[bytes, tuple[bytes, float]] = {}
        self._wanted: list[tuple[str, bytes | None]] = []
        self._issuing = Event()
        self._ended = Event()

    @property
    def unacked(self) -> int:
        """Number of records without an answer, those included that are still to be issued."""
        return len(self._unacked) + len(self._wanted)

    def issue(self, record_type: str, payload: bytes | None = None) -> None:
        """Issue a record besides those of the habits.

        :param payload: None for the one that follows from its id.
        """
        self._wanted.append((record_type, payload))

    def begin(self) -> None:
        """Issue records at the rate of the habits from now on."""
        self._issuing.set()

    def pause(self) -> None:
        """Issue no further records by habit."""
        self._issuing.clear()

    def end(self) -> None:
        """Close the connection and end; call ``join`` to wait for it."""
        self._ended.set()

    def run(self) -> None:
        """Be a vehicle."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError), Connection(self._address, self._tls) as connection:
                connection.upgrade()
                self.connects += 1
                self._converse(connection)
            self._ended.wait(_RECONNECT_S)

    def _converse(self, connection: Connection) -> None:
        self._send(connection, list(self._unacked))
        issued_until_s = time.monotonic()
        while not self._ended.is_set():
            now_s = time.monotonic()
            if self._issuing.is_set():
                due = int((now_s - issued_until_s) * self._habits.rate)
                issued_until_s += due / self._habits.rate
                self._issue(connection, due)
            else:
                issued_until_s = now_s
            self._issue_wanted(connection)
            if self._habits.resend_after_s is not None:
                overdue_s = now_s - self._habits.resend_after_s
                self._send(connection, [txid for txid, (_, sent_s) in self._unacked.items() if sent_s < overdue_s])
            if connection.is_readable(_TICK_S) and not self._read(connection):
                return

    def _issue(self, connection: Connection, due: int) -> None:
        types = self.record_types
        room = min(due, self._habits.window - len(self._unacked))
        self._send(connection, [self._new(types[number % len(types)]) for number in range(room)])

    def _issue_wanted(self, connection: Connection) -> None:
        issued = []
        while self._wanted:
            issued.append(self._new(*self._wanted[0]))
            del self._wanted[0]
        self._send(connection, issued)

    def _new(self, record_type: str, payload: bytes | None = None) -> bytes:
        txid = f"{self.vin}-{next(self._numbers):07}".encode()
        self.issued[txid] = time.monotonic()
        self._unacked[txid] = frame(message(txid, self.vin, record_type, payload)), 0.0
        return txid

    def _send(self, connection: Connection, txids: Iterable[bytes]) -> None:
        now_s, frames = time.monotonic(), []
        for txid in txids:
            whole, _ = self._unacked[txid]
            self._unacked[txid] = whole, now_s
            frames.append(whole)
        if frames:
            connection.send(b"".join(frames))

    def _read(self, connection: Connection) -> bool:
        """Take the answers that are there; False when the gateway closes."""
        now_s = time.monotonic()
        for opcode, content in connection.frames():
            if opcode == CLOSE:
                self.closes.append(int.from_bytes(content[:2]))
                connection.send(frame(content, 0x88))
                return False
            if opcode == BINARY:
                answer = envelope.read(content)
                if self._unacked.pop(answer.txid, None) is None:
                    self.strays += answer.txid not in self.issued
                elif answer.message_type == envelope.STREAM_ACK:
                    self.acked[answer.txid] = now_s
                else:
                    self.refused.add(answer.txid)
        return True


class Vehicles:
    """Some vehicles together, for use in a ``with`` statement: they start at the begin and have ended after it."""

    def __init__(self, each: Sequence[Vehicle]) -> None:
        self.each = each

    def __enter__(self) -> Self:
        for vehicle in self.each:
            vehicle.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for vehicle in self.each:
            vehicle.end()
        for vehicle in self.each:
            vehicle.join(DEADLINE_S)

    @property
    def issued(self) -> dict[bytes, float]:
        """Issued txids and the times of their first copies."""
        return {txid: at_s for vehicle in self.each for txid, at_s in vehicle.issued.copy().items()}

    @property
    def acked(self) -> dict[bytes, float]:
        """Acknowledged txids and the times of their acknowledgements."""
        return {txid: at_s for vehicle in self.each for txid, at_s in vehicle.acked.copy().items()}

    @property
    def _acks(self) -> int:
        return sum(len(vehicle.acked) for vehicle in self.each)

    @property
    def unacked(self) -> int:
        """Number of records without an answer."""
        return sum(vehicle.unacked for vehicle in self.each)

    def begin(self) -> None:
        """All issue records at their rate from now on."""
        for vehicle in self.each:
            vehicle.begin()

    def pause(self) -> None:
        """None issues records by habit."""
        for vehicle in self.each:
            vehicle.pause()

    def wait_for_acks(self, number: int) -> None:
        """Wait until so many more records are acknowledged than now.

        :raises AssertionError: none is for ``DEADLINE_S``.
        """
        enough = self._acks + number
        while (acks := self._acks) < enough:
            wait_until(lambda: self._acks > acks, f"{acks} of {enough} records were acknowledged")

    def settle(self) -> None:
        """Issue no more, and wait until every record is acknowledged; as ``wait_for_acks``."""
        self.pause()
        while unacked := self.unacked:
            wait_until(lambda: self.unacked < unacked, f"{unacked} records without an acknowledgement")


def wait_until(holds: Callable[[], object], complaint: Callable[[], str] | str, timeout_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds.

    :raises AssertionError: it does not within ``timeout_s``; with the complaint.
    """
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise AssertionError(complaint if isinstance(complaint, str) else complaint())
        time.sleep(_TICK_S)
