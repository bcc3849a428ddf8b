"""Messages that make no record: counted, logged within bounds, and answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.app.pipeline.routes import OTHER
from fleetgw.domain.line_limit import TEXT_CHARACTERS, cut
from fleetgw.domain.metrics import (
    RATE_LIMIT_EXCEEDED_TOTAL,
    RECORD_BEYOND_BOUND_TOTAL,
    RECORD_TOO_BIG_TOTAL,
    UNAUTHORIZED_SENDER_ID_TOTAL,
    UNEXPECTED_RECORD_ERR_TOTAL,
    UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL,
)
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.routes import TypeRoute
    from fleetgw.domain.errors import PeerError
    from fleetgw.domain.ports import ICounter, ILog, IMetrics, IReplyFrames
    from fleetgw.domain.records import Envelope, Vehicle

_ERROR_CHARACTERS = 512
_BYTES_A_CHARACTER = 4


@define
class Refusals:
    """Shared by all sessions, so that what is limited is limited for a vehicle.

    :ivar tracked_vins: vehicles with numbers of their own.
    """

    frames: IReplyFrames
    metrics: IMetrics
    log: ILog
    tracked_vins: frozenset[str]
    monotonic: Callable[[], float]
    _vehicle_log: VehicleLog = field(init=False)
    _too_big_total: ICounter = field(init=False)
    _unexpected_total: ICounter = field(init=False)
    _other_sender_total: ICounter = field(init=False)
    _unknown_types: dict[int, ICounter] = field(factory=dict, init=False)
    _over_limit: dict[tuple[str, str], ICounter] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._vehicle_log = VehicleLog(self.log, self.monotonic)
        self._too_big_total = self.metrics.counter(RECORD_TOO_BIG_TOTAL)
        self._unexpected_total = self.metrics.counter(UNEXPECTED_RECORD_ERR_TOTAL)
        self._other_sender_total = self.metrics.counter(UNAUTHORIZED_SENDER_ID_TOTAL)

    def too_big(self, vehicle: Vehicle, message: bytes, limit: int) -> bytes:
        """A message above ``limits.max_message_bytes``."""
        self._too_big_total.add(1)
        return self.unexpected(vehicle, f"message of {len(message)} bytes; at most {limit} are taken", None)

    def fault(self, vehicle: Vehicle, error: PeerError, envelope: Envelope | None) -> bytes:
        """A message that the codec refuses."""
        if error.bound is not None:
            self.metrics.counter(RECORD_BEYOND_BOUND_TOTAL, bound=error.bound).add(1)
        return self.unexpected(vehicle, str(error), envelope)

    def unexpected(self, vehicle: Vehicle, error: str, envelope: Envelope | None) -> bytes:
        """A message that gets the error reply; ``envelope`` is None when it could not be read."""
        self._unexpected_total.add(1)
        txid, topic = (envelope.txid, envelope.topic) if envelope is not None else (b"", b"")
        self._vehicle_log.error(
            "unexpected_record",
            vehicle.vin,
            lambda: {
                "device_id": vehicle.vin,
                "error": cut(error, _ERROR_CHARACTERS),
                "record_type": _text(topic),
                "txid": _text(txid),
            },
        )
        return self.frames.error(txid)

    def other_sender(self, vehicle: Vehicle, envelope: Envelope) -> bytes:
        """An unrouted record whose sender is not the certificate's."""
        self._other_sender_total.add(1)
        expected, sender_id = vehicle.identity.sender_id, _text(envelope.sender_id)
        self._vehicle_log.error(
            "unexpected_sender_id",
            vehicle.vin,
            lambda: {
                "expected_sender_id": expected,
                "record_type": _text(envelope.topic),
                "sender_id": sender_id,
                "txid": _text(envelope.txid),
            },
        )
        return self.unexpected(vehicle, f"the record's sender is {sender_id}, the certificate's {expected}", envelope)

    def unknown_type(self, vehicle: Vehicle, envelope: Envelope) -> bytes:
        """Acknowledge a message of unknown kind, so that the vehicle does not send it for ever; it goes nowhere."""
        message_type = envelope.message_type
        counter = self._unknown_types.get(message_type)
        if counter is None:
            counter = self.metrics.counter(UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL, msg_type=str(message_type))
            self._unknown_types[message_type] = counter
        counter.add(1)
        self._vehicle_log.error(
            "unknown_message_type_error",
            vehicle.vin,
            lambda: {
                "device_id": vehicle.vin,
                "error": f"no stream message: union tag {message_type}",
                "msg_txid": _text(envelope.txid),
                "msg_type": str(message_type),
            },
        )
        return self.frames.ack("", envelope.txid)

    def over_rate_limit(self, vehicle: Vehicle, route: TypeRoute | None) -> None:
        """A record above the rate limit, which gets no answer."""
        vin = vehicle.vin
        txtype = route.record_type if route is not None else OTHER
        labels = (vin if vin in self.tracked_vins else OTHER, txtype)
        counter = self._over_limit.get(labels)
        if counter is None:
            counter = self.metrics.counter(RATE_LIMIT_EXCEEDED_TOTAL, device_id=labels[0], txtype=txtype)
            self._over_limit[labels] = counter
        counter.add(1)
        self._vehicle_log.warn_once("rate_limit_exceeded", vin, lambda: {"device_id": vin, "txtype": txtype})


def _text(content: bytes) -> str:
    """Bytes that a vehicle has chosen, as text that a log line can bear."""
    if len(content) <= TEXT_CHARACTERS:
        return content.decode("utf-8", "replace")
    text = content[: TEXT_CHARACTERS * _BYTES_A_CHARACTER].decode("utf-8", "replace")[:TEXT_CHARACTERS]
    return f"{text}... ({len(content)} bytes)"
