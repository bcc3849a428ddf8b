"""Refusals: messages that make no record. They are counted, and logged within bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from fleetgw.app.pipeline.routes import OTHER
from fleetgw.domain.errors import MessageTooBig, OtherSender, PeerError, UnknownMessageType, Unrouted
from fleetgw.domain.line_limit import cut, cut_bytes
from fleetgw.domain.metrics import (
    RATE_LIMIT_EXCEEDED_TOTAL,
    RECORD_BEYOND_BOUND_TOTAL,
    RECORD_TOO_BIG_TOTAL,
    UNAUTHORIZED_SENDER_ID_TOTAL,
    UNEXPECTED_RECORD_ERR_TOTAL,
    UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL,
)
from fleetgw.domain.recent_refusals import RefusalKind
from fleetgw.domain.vehicle_log import VehicleLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.routes import TypeRoute
    from fleetgw.domain.ports import ICounter, ILog, IMetrics
    from fleetgw.domain.recent_refusals import RecentRefusals
    from fleetgw.domain.records import Envelope, Vehicle

OWN_MESSAGE_TYPES = 16
"""Number of unknown message types with a metric label of their own."""

_ERROR_CHARACTERS = 512
_RATE_LIMIT_FIX = "raise rate_limit.message_limit, or longer intervals in the vehicle's fleet_telemetry_config"


@define
class Refusals:
    """Counts and logs refused messages; shared by all sessions, so that log lines are bounded for each vehicle.

    :ivar tracked_vins: vehicles with time series of their own.
    :ivar recent: for people.
    """

    metrics: IMetrics
    log: ILog
    tracked_vins: frozenset[str]
    monotonic: Callable[[], float]
    recent: RecentRefusals
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

    def refuse(self, vehicle: Vehicle, error: Exception, envelope: Envelope | None) -> None:
        """Count and log a message that makes no record.

        :param envelope: None when it could not be read.
        """
        text, reason, fix = str(error), "malformed", ""
        match error:
            case Unrouted():  # which ``UnroutedRecords`` counts and logs
                self._show(vehicle, "unrouted", text, "give the record type a route in records")
                return
            case UnknownMessageType():
                self._show(vehicle, "unknown_message_type", text)
                self._unknown_type(vehicle, error, envelope)
                return
            case OtherSender() if envelope is not None:
                text, reason = self._other_sender(vehicle, envelope), "other_sender"
            case MessageTooBig():
                reason, fix = "too_big", "raise limits.max_message_bytes"
                self._too_big_total.add(1)
            case PeerError(bound=str(bound)):
                reason = f"beyond_bound_{bound}"
                self.metrics.counter(RECORD_BEYOND_BOUND_TOTAL, bound=bound).add(1)
            case PeerError():
                pass
            case _:
                text, reason = f"{type(error).__name__}: {error}", "internal_error"
        self._unexpected_total.add(1)
        self._show(vehicle, reason, text, fix)
        txid, topic = (envelope.txid, envelope.topic) if envelope is not None else (b"", b"")
        self._vehicle_log.error(
            "unexpected_record",
            vehicle.vin,
            lambda: {
                **vehicle.log_context,
                "error": cut(text, _ERROR_CHARACTERS),
                "record_type": cut_bytes(topic),
                "txid": cut_bytes(txid),
            },
        )

    def _show(self, vehicle: Vehicle, reason: str, text: str, fix: str = "") -> None:
        shown = cut(text, _ERROR_CHARACTERS)
        self.recent.add(RefusalKind.MESSAGE, reason, shown, fix=fix, address=vehicle.address, vin=vehicle.vin)

    def _other_sender(self, vehicle: Vehicle, envelope: Envelope) -> str:
        """Count and log a sender other than the certificate's; returns the error text, which names both."""
        self._other_sender_total.add(1)
        expected, sender_id = vehicle.identity.sender_id, cut_bytes(envelope.sender_id)
        self._vehicle_log.error(
            "unexpected_sender_id",
            vehicle.vin,
            lambda: {
                **vehicle.log_context,
                "expected_sender_id": expected,
                "record_type": cut_bytes(envelope.topic),
                "sender_id": sender_id,
                "txid": cut_bytes(envelope.txid),
            },
        )
        return f"the record's sender is {sender_id}, the certificate's {expected}"

    def _unknown_type(self, vehicle: Vehicle, error: UnknownMessageType, envelope: Envelope | None) -> None:
        message_type = error.message_type
        counter = self._unknown_types.get(message_type)
        if counter is None:
            label = str(message_type) if len(self._unknown_types) < OWN_MESSAGE_TYPES else OTHER
            counter = self.metrics.counter(UNKNOWN_MESSAGE_TYPE_ERROR_TOTAL, msg_type=label)
            self._unknown_types[message_type] = counter
        counter.add(1)
        self._vehicle_log.error(
            "unknown_message_type_error",
            vehicle.vin,
            lambda: {
                **vehicle.log_context,
                "error": str(error),
                "msg_txid": cut_bytes(envelope.txid if envelope is not None else b""),
                "msg_type": str(message_type),
            },
        )

    def over_rate_limit(self, vehicle: Vehicle, route: TypeRoute | None) -> None:
        """Count and log a record above the rate limit; it gets no reply."""
        vin = vehicle.vin
        txtype = route.record_type if route is not None else OTHER
        labels = (vin if vin in self.tracked_vins else OTHER, txtype)
        counter = self._over_limit.get(labels)
        if counter is None:
            counter = self.metrics.counter(RATE_LIMIT_EXCEEDED_TOTAL, device_id=labels[0], txtype=txtype)
            self._over_limit[labels] = counter
        counter.add(1)
        self._show(vehicle, "rate_limit_exceeded", "the vehicle sends more than its rate limit allows", _RATE_LIMIT_FIX)
        self._vehicle_log.warn_once("rate_limit_exceeded", vin, lambda: {**vehicle.log_context, "txtype": txtype})
