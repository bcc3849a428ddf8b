"""Records on their way through one broker: waiting, in flight, settled. No I/O and no clock."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.mqtt.packets import is_failure, publish_writer
from fleetgw.domain.errors import DeliveryError, Rejected, Retryable
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.delivery.numbers import PublishNumbers
    from fleetgw.adapters.delivery.under_way import BatchUnderWay
    from fleetgw.adapters.sinks.mqtt.messages import Message
    from fleetgw.adapters.sinks.mqtt.session import BrokerLimits
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

IN_FLIGHT_LIMIT = 16_384
"""Publishes without an acknowledgement; of the 65535 that packet identifiers can tell apart."""

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
    """

    __slots__ = ("batch", "count", "error", "index", "size_bytes", "unconfirmed", "unsent")

    def __init__(self, batch: BatchUnderWay, index: int, messages: Sequence[Message]) -> None:
        self.batch = batch
        self.index = index
        self.unsent = list(reversed(messages))
        self.count = self.unconfirmed = len(messages)
        self.size_bytes = sum([len(message.body) for message in messages])
        self.error: DeliveryError | None = None


class PublishWindow:
    """Turns records into PUBLISH packets as there is room, and acknowledgements into outcomes.

    :param messages: makes a record's messages; raises ``Rejected``.
    :param failed: told of every record that was not delivered, and why.
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
    ) -> None:
        self._messages = messages
        self._qos = qos
        self._write = publish_writer(qos, retained=retained, properties=is_mqtt5)
        self._own_packet_size_limit_bytes = self._packet_size_limit_bytes = packet_size_limit_bytes
        self._in_flight_limit = IN_FLIGHT_LIMIT
        self._numbers = numbers
        self._failed = failed
        self._waiting: deque[tuple[BatchUnderWay, int]] = deque()
        self._sending: _Publication | None = None
        self._in_flight: dict[int, _Publication | None] = {}  # None: given up, but the identifier is the broker's still
        self._begun: deque[_Publication] = deque()
        self._last_identifier = 0
        self._settled: list[BatchUnderWay] = []
        self._open: set[BatchUnderWay] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._open

    @property
    def is_unanswered(self) -> bool:
        """Whether the broker has yet to answer for a record."""
        return bool(self._begun)

    @property
    def has_room(self) -> bool:
        """Whether there is something to send, and the broker would take it."""
        return bool(self._sending or self._waiting) and len(self._in_flight) < self._in_flight_limit

    def begin(self, limits: BrokerLimits) -> None:
        """A new session: its limits, and nothing in flight."""
        self._in_flight_limit = min(IN_FLIGHT_LIMIT, limits.in_flight)
        self._packet_size_limit_bytes = min(self._own_packet_size_limit_bytes, limits.packet_size_bytes)

    def add(self, batch: BatchUnderWay) -> None:
        """Have a batch wait for its turn."""
        self._open.add(batch)
        self._waiting.extend((batch, index) for index in range(len(batch.batch)))

    def next_packets(self, most: int) -> bytes:
        """The PUBLISH packets to send now, ``most`` at the most, or a record's more; with QoS 0 they count as delivered."""
        packets: list[bytes] = []
        while self.has_room and len(packets) < most:
            publication = self._sending or self._next_publication()
            if publication is not None:
                self._send(publication, packets)
        return b"".join(packets)

    def _next_publication(self) -> _Publication | None:
        """Start with the next record; None when it cannot be sent, or there is nothing to send of it."""
        batch, index = self._waiting.popleft()
        record = batch.batch[index]
        try:
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
            publication.unconfirmed -= 1
            if not publication.unconfirmed:
                if publication.error is None:
                    self._confirm(publication)
                else:
                    self._settle(publication.batch, publication.index, publication.error)
        while begun and not begun[0].unconfirmed:
            begun.popleft()
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
        record_type = publication.batch.batch[publication.index].record_type
        self._numbers.published(record_type, publication.count, publication.size_bytes)
        self._settle(publication.batch, publication.index, RECEIPT)

    def _settle(self, batch: BatchUnderWay, index: int, outcome: Outcome) -> None:
        if isinstance(outcome, DeliveryError):
            self._failed(batch.batch[index], outcome)
        if batch.settle(index, outcome):
            self._open.discard(batch)
            self._settled.append(batch)

    def give_up(self, error: DeliveryError) -> None:
        """Settle all that is under way, delivered or not, with one error; nothing is in flight any more."""
        self._waiting.clear()
        self._in_flight.clear()
        self._begun.clear()
        self._sending = None
        for batch in list(self._open):
            for index in range(len(batch.batch)):
                if not batch.is_settled(index):
                    self._settle(batch, index, error)

    def take_settled(self) -> list[BatchUnderWay]:
        """The batches whose every record has an outcome, once."""
        settled, self._settled = self._settled, []
        return settled


def _refusal(code: int) -> DeliveryError:
    if code in _REJECTED_CODES:
        return Rejected(f"the broker refuses it: {_REJECTED_CODES[code]}")
    return Retryable(f"the broker does not take it: {_REFUSED_CODES.get(code, f'reason code {code:#04x}')}")
