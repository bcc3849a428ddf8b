"""Records on their way through one broker: waiting, in flight, settled. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.mqtt.packets import is_failure, publish_writer
from fleetgw.adapters.sinks.mqtt.poison_records import ENDS_TO_REJECT, PoisonRecordDetector
from fleetgw.adapters.sinks.mqtt.reason_codes import refusal
from fleetgw.adapters.sinks.mqtt.waiting import WaitingRecords
from fleetgw.domain.errors import DeliveryError, NotConnected, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.mqtt.messages import Message
    from fleetgw.adapters.sinks.mqtt.quarantine import Quarantine
    from fleetgw.adapters.sinks.mqtt.session_events import BrokerLimits
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

IN_FLIGHT_LIMIT = 16_384
"""Publishes without an acknowledgement; packet identifiers could tell 65,535 apart."""

TURN_BYTES = 32_768
"""Payloads, and bodies of the messages made of them, in one turn of the reactor; one record may have more. The smallest
elements have two bytes, and cost about a microsecond."""

SLOWEST_BYTES_PER_S = 65_536
"""A record has one second more to be confirmed for each so many bytes: sent bytes may wait in buffers on the way."""

REFUSAL_TO_END_S = 0.2
"""A broker that ends the session over a message it has just refused does so within this time."""

_LARGEST_HEADER_BYTES = 10


class _Publication:
    """A record that is being published.

    :ivar unsent: its messages that are not written yet, in reverse order.
    :ivar count: number of its messages.
    :ivar unconfirmed: number of its messages that are not confirmed yet, written or not.
    :ivar end_bytes: bytes written in the session when its last message was; None until then.
    """

    __slots__ = ("count", "dispatch", "end_bytes", "error", "index", "size_bytes", "unconfirmed", "unsent")

    def __init__(self, dispatch: Dispatch, index: int, messages: Sequence[Message]) -> None:
        self.dispatch = dispatch
        self.index = index
        self.unsent = list(reversed(messages))
        self.count = self.unconfirmed = len(messages)
        self.size_bytes = sum([len(message.body) for message in messages])
        self.error: DeliveryError | None = None
        self.end_bytes: int | None = None

    @property
    def record(self) -> Record:
        return self.dispatch.batch[self.index]


class PublishWindow:
    """Turns records into PUBLISH packets as there is room, and acknowledgements into outcomes.

    :param messages: makes a record's messages; raises ``Rejected``.
    :param failed: called for each record that was not delivered, with the reason.
    :param quarantine: tells which records must not be sent for now.
    """

    def __init__(
        self,
        messages: Callable[[Record], Sequence[Message]],
        *,
        qos: int,
        retained: bool,
        is_mqtt5: bool,
        packet_size_limit_bytes: int,
        metrics: PublishMetrics,
        failed: Callable[[Record, DeliveryError], None],
        quarantine: Quarantine,
    ) -> None:
        self._messages = messages
        self._qos = qos
        self._write = publish_writer(qos, retained=retained, properties=is_mqtt5)
        self._own_packet_size_limit_bytes = self._packet_size_limit_bytes = packet_size_limit_bytes
        self._in_flight_limit = IN_FLIGHT_LIMIT
        self._metrics = metrics
        self._failed = failed
        self._detector = PoisonRecordDetector(IN_FLIGHT_LIMIT)
        self._quarantine = quarantine
        self._turn_bytes_left = 0
        self._waiting = WaitingRecords(self._detector)
        self._refused: Record | None = None  # the record that the broker's last answer refused, if it did
        self._sending: _Publication | None = None
        self._in_flight: dict[int, _Publication | None] = {}  # None: given up, but the identifier is in use at the broker
        self._begun: deque[_Publication] = deque()
        self._last_identifier = 0
        self._settled: list[Dispatch] = []
        self._open: set[Dispatch] = set()

    @property
    def is_idle(self) -> bool:
        """Whether every record has its outcome."""
        return not self._open

    @property
    def is_unanswered(self) -> bool:
        """Whether the broker owes an acknowledgement."""
        return bool(self._begun)

    def extra_time_s(self) -> float:
        """Seconds that the oldest record in flight may take on top of the usual time, for its size."""
        return float(self._begun[0].size_bytes // SLOWEST_BYTES_PER_S) if self._begun else 0.0

    def is_leaving(self, left_bytes: int) -> bool:
        """Whether a part of the oldest record is still to be sent, so that each byte that leaves is progress.

        With QoS 0 always so: all records that wait, wait for the connection.

        :param left_bytes: bytes of this session that have left this machine.
        """
        end_bytes = self._begun[0].end_bytes if self._begun else None
        return end_bytes is None or left_bytes < end_bytes

    @property
    def has_room(self) -> bool:
        """Whether there is a record to send that the broker would take now."""
        if len(self._in_flight) >= self._in_flight_limit:
            return False
        return self._sending is not None or self._waiting.may_send(in_flight=bool(self._begun))

    @property
    def holds_back(self) -> bool:
        """Whether only suspects are left, which wait until another record is confirmed."""
        return self._waiting.has_suspects and not self._begun and not self.has_room

    def release_suspect(self) -> None:
        """Send the next suspect although no other record has come."""
        self._waiting.release_suspect()

    def begin(self, limits: BrokerLimits) -> None:
        """A session begins, with nothing in flight.

        :param limits: the broker's, for this session.
        """
        self._in_flight_limit = min(IN_FLIGHT_LIMIT, limits.in_flight)
        self._packet_size_limit_bytes = min(self._own_packet_size_limit_bytes, limits.packet_size_bytes)
        self._detector.session_opened()
        self._waiting.sort_again()

    def add(self, dispatch: Dispatch) -> None:
        """Queue the records of a dispatch."""
        self._open.add(dispatch)
        self._waiting.add((dispatch, index) for index in range(len(dispatch.batch)))

    def next_packets(self, most: int, written_bytes: int = 0) -> bytes:
        """The PUBLISH packets to send now; with QoS 0 their records count as delivered.

        :param most: number of packets; the last record may exceed it.
        :param written_bytes: bytes written in this session before.
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
        """Begin with the next record; None when it is settled at once: it cannot be sent, or has no messages."""
        dispatch, index = self._waiting.take(in_flight=bool(self._begun))
        record = dispatch.batch[index]
        self._turn_bytes_left -= len(record.payload)
        if self._quarantine and (left_s := self._quarantine.left_s(record)) > 0:
            reason = f"this vehicle's {record.record_type} are quarantined for {left_s:.0f} s"
            self._settle(dispatch, index, Retryable(reason))
            return None
        try:
            if self._detector.active and self._detector.condemns(record):
                self._detector.forget(record)
                self._quarantine.poisoned(record)
                raise Rejected(f"the broker ends the session over it, as it did {ENDS_TO_REJECT} times; it takes others")
            messages = self._messages(record)
            self._check_size(messages)
        except Rejected as error:
            self._settle(dispatch, index, error)
            return None
        except Exception as error:  # of any kind: it becomes the record's outcome
            self._settle(dispatch, index, Rejected(f"no MQTT messages can be made of it: {error!r}"))
            return None
        if not messages:
            self._settle(dispatch, index, RECEIPT)
            return None
        publication = _Publication(dispatch, index, messages)
        self._turn_bytes_left -= publication.size_bytes
        if self._qos:
            self._begun.append(publication)
        return publication

    def _check_size(self, messages: Sequence[Message]) -> None:
        limit = self._packet_size_limit_bytes
        for message in messages:
            if len(message.topic) + len(message.body) + _LARGEST_HEADER_BYTES > limit:
                size = len(self._write(message, 1))
                if size > limit:
                    raise Rejected(f"a message of {size} bytes; the broker takes {limit}")

    def _send(self, publication: _Publication, packets: list[bytes]) -> None:
        """Write the messages of a record, as far as there is room."""
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
        """Take acknowledgements: packet identifiers and reason codes.

        :return: whether the oldest record in flight is nearer to its outcome.
        """
        in_flight, begun = self._in_flight, self._begun
        oldest = begun[0] if begun else None
        left = oldest.unconfirmed if oldest else 0
        for identifier, code in acknowledgements:
            publication = in_flight.pop(identifier, None)
            if publication is None:
                continue
            if is_failure(code):
                publication.error = refusal(code)
                self._refused = publication.record
            publication.unconfirmed -= 1
            if not publication.unconfirmed:
                if publication.error is None:
                    self._confirm(publication)
                else:
                    self._settle(publication.dispatch, publication.index, publication.error)
        if self._refused is not None and not is_failure(acknowledgements[-1][1]):
            self._detector.forget(self._refused)
            self._refused = None
        while begun and not begun[0].unconfirmed:
            begun.popleft()
        if self._detector.active and oldest is not None and not begun and not self._waiting.has_suspects:
            self._detector.group_answered()
        return oldest is not None and oldest.unconfirmed < left

    def give_up_overtaken(self, error: Retryable) -> bool:
        """Settle the records that the broker has not acknowledged although it has acknowledged later ones.

        Their packet identifiers stay in use until their acknowledgement or the end of the session.

        :return: whether there were any.
        """
        confirmed = [position for position, publication in enumerate(self._begun) if not publication.unconfirmed]
        if not confirmed:
            return False
        older = [self._begun.popleft() for _ in range(confirmed[-1] + 1)]
        overtaken = [publication for publication in older if publication.unconfirmed]
        given_up = set(overtaken)
        for identifier, publication in self._in_flight.items():
            if publication in given_up:
                self._in_flight[identifier] = None
        for publication in overtaken:
            self._settle(publication.dispatch, publication.index, error)
        return True

    def _confirm(self, publication: _Publication) -> None:
        record = publication.record
        if self._detector.active:
            if self._detector.suspects(record):
                self._quarantine.passed(record)
            self._detector.confirmed(record)
        self._metrics.published(record.record_type, publication.count, publication.size_bytes)
        self._settle(publication.dispatch, publication.index, RECEIPT)

    def _settle(self, dispatch: Dispatch, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, DeliveryError):
            self._failed(dispatch.batch[index], outcome)
        if dispatch.settle(index, outcome):
            self._open.discard(dispatch)
            self._settled.append(dispatch)

    def end(self, error: NotConnected, *, by_broker: bool, silent_s: float, stalled: bool = False) -> bool:
        """Settle all records, because the session has ended, or an attempt to begin one has failed.

        :param by_broker: the broker has ended a session.
        :param silent_s: seconds from the broker's last answer to the end.
        :param stalled: the sink has cut the session, because the oldest record in flight was not confirmed in time.
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
                self._settle(publication.dispatch, publication.index, publication.error)
        self.give_up(error)
        return at_once

    def _stall(self, error: NotConnected) -> None:
        oldest = next((each for each in self._begun if each.unconfirmed), None)
        if oldest is None:
            return
        record = oldest.record
        if self._detector.session_stalled(record):
            self._quarantine.stalled(record)
            reason = f"{error}, over this record and not over others: its vehicle's {record.record_type} are quarantined"
            self._settle(oldest.dispatch, oldest.index, Retryable(reason))

    def _suspect(self, error: NotConnected, silent_s: float) -> bool:
        if self._refused is not None and silent_s < REFUSAL_TO_END_S:
            return self._detector.session_ended([self._refused])
        in_flight = {each.record: each for each in self._begun if each.unconfirmed}
        at_once = self._detector.session_ended(in_flight)
        for record, publication in in_flight.items():
            if self._detector.suspects(record):  # not NotConnected, which would keep other records from their retry
                self._settle(publication.dispatch, publication.index, Retryable(f"{error}, it seems over this record"))
        return at_once

    def give_up(self, error: DeliveryError) -> None:
        """Settle all records with one error, delivered or not; nothing is in flight any more."""
        self._waiting.clear()
        self._in_flight.clear()
        self._begun.clear()
        self._sending = None
        for dispatch in list(self._open):
            for index in range(len(dispatch.batch)):
                if not dispatch.is_settled(index):
                    self._settle(dispatch, index, error)

    def take_settled(self) -> list[Dispatch]:
        """The dispatches that are settled since the last call; they are to be answered."""
        settled, self._settled = self._settled, []
        return settled
