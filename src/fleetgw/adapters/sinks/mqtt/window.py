"""Records on their way through one broker: waiting, in flight, settled. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.mqtt.packets import is_failure, publish_writer
from fleetgw.adapters.sinks.mqtt.poison_records import ENDS_TO_REJECT, PoisonRecordDetector
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fleetgw.adapters.sinks.mqtt.messages import Message
    from fleetgw.adapters.sinks.mqtt.quarantine import Quarantine
    from fleetgw.adapters.sinks.mqtt.session import BrokerLimits
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.adapters.sinks.support.numbers import PublishNumbers
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

IN_FLIGHT_LIMIT = 16_384
"""Publishes without an acknowledgement; of the 65535 that packet identifiers can tell apart."""

TURN_BYTES = 32_768
"""Payloads that messages are made of at once, and the messages' bodies: the reactor gets its turn after so many, or after
the one record that has more. The smallest elements have two bytes, and cost about a microsecond."""

SLOWEST_BYTES_PER_S = 65_536
"""A record has a second more to be confirmed for so many bytes: what has left may wait in buffers on its way."""

REFUSAL_TO_END_S = 0.2
"""A broker that ends the session over what it has just refused does so within this time."""

_LARGEST_HEADER_BYTES = 10

_REJECTED_CODES = {0x90: "topic name invalid", 0x95: "packet too large", 0x99: "payload format invalid"}
"""MQTT 5 reason codes (2.4) that the same message meets again for ever."""

_REFUSED_CODES = {
    0x80: "unspecified error",
    0x83: "implementation specific error",
    0x87: "not authorized",
    0x91: "packet identifier in use",
    0x97: "quota exceeded",
}
"""Those that somebody, or time, can mend."""


class _Publication:
    """A record under way.

    :ivar unsent: its messages that are not written yet, the first last.
    :ivar unconfirmed: how many are not confirmed yet, written or not.
    :ivar end_bytes: how much was written in the session up to its last message; None while that is not written.
    """

    __slots__ = ("batch", "count", "end_bytes", "error", "index", "size_bytes", "unconfirmed", "unsent")

    def __init__(self, batch: Dispatch, index: int, messages: Sequence[Message]) -> None:
        self.batch = batch
        self.index = index
        self.unsent = list(reversed(messages))
        self.count = self.unconfirmed = len(messages)
        self.size_bytes = sum([len(message.body) for message in messages])
        self.error: DeliveryError | None = None
        self.end_bytes: int | None = None


class PublishWindow:
    """Turns records into PUBLISH packets as there is room, and acknowledgements into outcomes.

    :param messages: makes a record's messages; raises ``Rejected``.
    :param failed: told of every record that was not delivered, and why.
    :param quarantine: which records are not to be sent for now.
    """

    def __init__(
        self,
        messages: Callable[[Record], Sequence[Message]],
        *,
        qos: int,
        retained: bool,
        is_mqtt5: bool,
        packet_size_limit_bytes: int,
        numbers: PublishNumbers,
        failed: Callable[[Record, DeliveryError], None],
        quarantine: Quarantine,
    ) -> None:
        self._messages = messages
        self._qos = qos
        self._write = publish_writer(qos, retained=retained, properties=is_mqtt5)
        self._own_packet_size_limit_bytes = self._packet_size_limit_bytes = packet_size_limit_bytes
        self._in_flight_limit = IN_FLIGHT_LIMIT
        self._numbers = numbers
        self._failed = failed
        self._detector = PoisonRecordDetector(IN_FLIGHT_LIMIT)
        self._quarantine = quarantine
        self._turn_bytes_left = 0
        self._waiting: deque[tuple[Dispatch, int]] = deque()
        self._apart: deque[tuple[Dispatch, int]] = deque()  # those under suspicion
        self._suspect_may_go = False
        self._room_in_group = 0
        self._refused: Record | None = None  # where the broker's last answer was a refusal
        self._sending: _Publication | None = None
        self._in_flight: dict[int, _Publication | None] = {}  # None: given up, but the identifier is the broker's still
        self._begun: deque[_Publication] = deque()
        self._last_identifier = 0
        self._settled: list[Dispatch] = []
        self._open: set[Dispatch] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._open

    @property
    def is_unanswered(self) -> bool:
        """Whether the broker has yet to answer for a record."""
        return bool(self._begun)

    def extra_time_s(self) -> float:
        """How much longer than others the oldest record under way may take, for its size."""
        return float(self._begun[0].size_bytes // SLOWEST_BYTES_PER_S) if self._begun else 0.0

    def is_leaving(self, left_bytes: int) -> bool:
        """Whether bytes that leave bring the oldest record nearer to its outcome.

        With QoS 0 all that waits, waits for room. Else some of the record is still to be sent.

        :param left_bytes: how much of what was written in this session has left.
        """
        end_bytes = self._begun[0].end_bytes if self._begun else None
        return end_bytes is None or left_bytes < end_bytes

    @property
    def has_room(self) -> bool:
        """Whether there is something to send, and the broker would take it."""
        if len(self._in_flight) >= self._in_flight_limit:
            return False
        if self._sending or not self._detector.active:
            return bool(self._sending or self._waiting)
        if self._begun:
            return self._room_in_group > 0 and bool(self._waiting)
        return bool(self._waiting) or (bool(self._apart) and (self._detector.takes_others or self._suspect_may_go))

    @property
    def holds_back(self) -> bool:
        """Whether all that is left to send is under suspicion, and waits for others to be confirmed before it."""
        return bool(self._apart) and not self._begun and not self.has_room

    def let_suspect_go(self) -> None:
        """Send the next one under suspicion although no other has come."""
        self._suspect_may_go = True

    def begin(self, limits: BrokerLimits) -> None:
        """A new session: its limits, and nothing in flight."""
        self._in_flight_limit = min(IN_FLIGHT_LIMIT, limits.in_flight)
        self._packet_size_limit_bytes = min(self._own_packet_size_limit_bytes, limits.packet_size_bytes)
        self._detector.session_opened()
        waiting, self._waiting = self._waiting, deque()
        self._line_up(waiting)

    def add(self, batch: Dispatch) -> None:
        """Have a batch wait for its turn."""
        self._open.add(batch)
        self._line_up((batch, index) for index in range(len(batch.batch)))

    def _line_up(self, places: Iterable[tuple[Dispatch, int]]) -> None:
        if not self._detector.active:
            self._waiting.extend(places)
            return
        for batch, index in places:
            line = self._apart if self._detector.suspects(batch.batch[index]) else self._waiting
            line.append((batch, index))

    def next_packets(self, most: int, written_bytes: int = 0) -> bytes:
        """The PUBLISH packets to send now, ``most`` at the most, or a record's more; with QoS 0 they count as delivered.

        :param written_bytes: how much was written in this session before.
        """
        packets: list[bytes] = []
        written: list[_Publication] = []
        self._turn_bytes_left = TURN_BYTES
        while self.has_room and len(packets) < most and self._turn_bytes_left > 0:
            publication = self._sending or self._next_publication()
            if publication is not None:
                self._send(publication, packets)
                if not publication.unsent:
                    written.append(publication)
        together = b"".join(packets)
        for publication in written:
            publication.end_bytes = written_bytes + len(together)
        return together

    def _next_publication(self) -> _Publication | None:
        """Start with the next record; None when it cannot be sent, or there is nothing to send of it."""
        batch, index = self._next_in_group() if self._detector.active else self._waiting.popleft()
        record = batch.batch[index]
        self._turn_bytes_left -= len(record.payload)
        if self._quarantine and (left_s := self._quarantine.left_s(record)) > 0:
            self._settle(batch, index, Retryable(f"this vehicle's {record.record_type} are quarantined for {left_s:.0f} s"))
            return None
        try:
            if self._detector.active and self._detector.condemns(record):
                self._detector.forget(record)
                self._quarantine.poisoned(record)
                raise Rejected(f"the broker ends the session over it, as it did {ENDS_TO_REJECT} times; it takes others")
            messages = self._messages(record)
            self._check_size(messages)
        except Rejected as error:
            self._settle(batch, index, error)
            return None
        except Exception as error:  # whatever it is, it becomes the record's outcome
            self._settle(batch, index, Rejected(f"no MQTT messages can be made of it: {error!r}"))
            return None
        if not messages:
            self._settle(batch, index, RECEIPT)
            return None
        publication = _Publication(batch, index, messages)
        self._turn_bytes_left -= publication.size_bytes
        if self._qos:
            self._begun.append(publication)
        return publication

    def _next_in_group(self) -> tuple[Dispatch, int]:
        if self._begun:
            self._room_in_group -= 1
        elif self._apart and (self._detector.takes_others or not self._waiting):
            self._room_in_group = 0
            self._suspect_may_go = False
            return self._apart.popleft()
        else:
            self._room_in_group = self._detector.group_records - 1
        return self._waiting.popleft()

    def _check_size(self, messages: Sequence[Message]) -> None:
        limit = self._packet_size_limit_bytes
        for message in messages:
            if len(message.topic) + len(message.body) + _LARGEST_HEADER_BYTES > limit:
                size = len(self._write(message, 1))
                if size > limit:
                    raise Rejected(f"a message of {size} bytes; the broker takes {limit}")

    def _send(self, publication: _Publication, packets: list[bytes]) -> None:
        """Write as many of a record's messages as there is room for."""
        unsent, write = publication.unsent, self._write
        if not self._qos:
            while unsent:
                packets.append(write(unsent.pop(), 0))
            self._confirm(publication)
            return
        in_flight, identifier = self._in_flight, self._last_identifier
        room = self._in_flight_limit - len(in_flight)
        while unsent and room:
            identifier = identifier % 0xFFFF + 1
            while identifier in in_flight:
                identifier = identifier % 0xFFFF + 1
            in_flight[identifier] = publication
            packets.append(write(unsent.pop(), identifier))
            room -= 1
        self._last_identifier = identifier
        self._sending = publication if unsent else None

    def acknowledge(self, acknowledgements: list[tuple[int, int]]) -> bool:
        """Take the broker's word on publishes: packet identifiers and reason codes.

        :return: whether the oldest record under way is nearer to its outcome.
        """
        in_flight, begun = self._in_flight, self._begun
        oldest = begun[0] if begun else None
        left = oldest.unconfirmed if oldest else 0
        for identifier, code in acknowledgements:
            publication = in_flight.pop(identifier, None)
            if publication is None:
                continue
            if is_failure(code):
                publication.error = _refusal(code)
                self._refused = publication.batch.batch[publication.index]
            publication.unconfirmed -= 1
            if not publication.unconfirmed:
                if publication.error is None:
                    self._confirm(publication)
                else:
                    self._settle(publication.batch, publication.index, publication.error)
        if self._refused is not None and not is_failure(acknowledgements[-1][1]):
            self._detector.forget(self._refused)
            self._refused = None
        while begun and not begun[0].unconfirmed:
            begun.popleft()
        if self._detector.active and oldest is not None and not begun and not self._apart:
            self._detector.group_answered()
        return oldest is not None and oldest.unconfirmed < left

    def give_up_overtaken(self, error: Retryable) -> bool:
        """Settle the records that the broker has passed over: it has answered for later ones.

        Their packet identifiers stay in use until it answers all the same, or the session ends.

        :return: whether there were any.
        """
        answered = [place for place, publication in enumerate(self._begun) if not publication.unconfirmed]
        if not answered:
            return False
        passed = [self._begun.popleft() for _ in range(answered[-1] + 1)]
        overtaken = [publication for publication in passed if publication.unconfirmed]
        given_up = set(overtaken)
        for identifier, publication in self._in_flight.items():
            if publication in given_up:
                self._in_flight[identifier] = None
        for publication in overtaken:
            self._settle(publication.batch, publication.index, error)
        return True

    def _confirm(self, publication: _Publication) -> None:
        record = publication.batch.batch[publication.index]
        if self._detector.active:
            if self._detector.suspects(record):
                self._quarantine.passed(record)
            self._detector.confirmed(record)
        self._numbers.published(record.record_type, publication.count, publication.size_bytes)
        self._settle(publication.batch, publication.index, RECEIPT)

    def _settle(self, batch: Dispatch, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, DeliveryError):
            self._failed(batch.batch[index], outcome)
        if batch.settle(index, outcome):
            self._open.discard(batch)
            self._settled.append(batch)

    def end(self, error: NotConnected, *, by_broker: bool, silent_s: float, stalled: bool = False) -> bool:
        """The session is over: settle all that is under way. ``end`` is called for an attempt to begin one, too.

        :param by_broker: it had begun, and the broker has ended it.
        :param silent_s: how long the broker has not answered before.
        :param stalled: it was cut, as the oldest record under way was not confirmed in time.
        :return: whether to connect again at once.
        """
        at_once = False
        if stalled:
            self._stall(error)
        elif not by_broker:
            self._detector.attempt_failed()
        elif None not in self._in_flight.values():
            at_once = self._suspect(error, silent_s)
        self._refused = None
        for publication in self._begun:
            if publication.unconfirmed and publication.error is not None:
                self._settle(publication.batch, publication.index, publication.error)
        self.give_up(error)
        return at_once

    def _stall(self, error: NotConnected) -> None:
        oldest = next((each for each in self._begun if each.unconfirmed), None)
        if oldest is None:
            return
        record = oldest.batch.batch[oldest.index]
        if self._detector.session_stalled(record):
            self._quarantine.stalled(record)
            what = f"{error}, over this record and not over others: its vehicle's {record.record_type} are quarantined"
            self._settle(oldest.batch, oldest.index, Retryable(what))

    def _suspect(self, error: NotConnected, silent_s: float) -> bool:
        if self._refused is not None and silent_s < REFUSAL_TO_END_S:
            return self._detector.session_ended([self._refused])
        under_way = {each.batch.batch[each.index]: each for each in self._begun if each.unconfirmed}
        at_once = self._detector.session_ended(under_way)
        for record, publication in under_way.items():
            if self._detector.suspects(record):  # that others can be sent again does not hang on it
                self._settle(publication.batch, publication.index, Retryable(f"{error}, it seems over this record"))
        return at_once

    def give_up(self, error: DeliveryError) -> None:
        """Settle all that is under way, delivered or not, with one error; nothing is in flight any more."""
        self._waiting.clear()
        self._apart.clear()
        self._in_flight.clear()
        self._begun.clear()
        self._sending = None
        for batch in list(self._open):
            for index in range(len(batch.batch)):
                if not batch.is_settled(index):
                    self._settle(batch, index, error)

    def take_settled(self) -> list[Dispatch]:
        """The batches whose every record has an outcome, once."""
        settled, self._settled = self._settled, []
        return settled


def _refusal(code: int) -> DeliveryError:
    if code in _REJECTED_CODES:
        return Rejected(f"the broker refuses it: {_REJECTED_CODES[code]}")
    return Retryable(f"the broker does not take it: {_REFUSED_CODES.get(code, f'reason code {code:#04x}')}")
