"""A session in a whole pipeline: real codec, real lanes, scripted sinks, a recording link."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import TestCase

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.codec.codec import RecordCodec
from fleetgw.adapters.codec.envelope import write_stream
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.ingress.fast_frames import binary_frame_header
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.app.pipeline.gateway import Gateway, GatewaySettings
from fleetgw.app.pipeline.lane import Lane, LaneTiming
from fleetgw.app.pipeline.routes import TypeRoutes
from fleetgw.app.pipeline.spooling import Spooling
from fleetgw.domain.ack_expressions import read_policy
from fleetgw.domain.delivery.limits import BacklogLimits
from fleetgw.domain.ports import RECEIPT, IDispatcher
from fleetgw.domain.records import PeerIdentity, Record, Vehicle
from fleetgw.domain.routing import build_routes
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.books import assert_balanced
from tests.support.lane_sink import LaneSink
from tests.support.recording_link import Link

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fleetgw.app.pipeline.connected import RateLimit
    from fleetgw.app.pipeline.session import Session
    from fleetgw.domain.deduplication import DeduplicationWindow
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.routing import Route

VIN = "5YJ3E1EA7KF000001"
NOW_NS = 1_764_000_000_123_456_789
CODEC = RecordCodec(transmit_decoded_records=False)

V_PAYLOAD = Payload(data=[{"key": 4}, {"key": 5}]).SerializeToString()  # type: ignore[list-item]  # as protobuf takes it
ALERTS_PAYLOAD = VehicleAlerts(alerts=[{"name": "a"}, {"name": "b"}]).SerializeToString()  # type: ignore[list-item]


def vehicle(vin: str = VIN, connection_id: str = "11111111-2222-3333-4444-555555555555") -> Vehicle:
    """Make a vehicle."""
    return Vehicle(PeerIdentity("vehicle_device", vin), vin, connection_id, "1.2", "wifi")


def message(
    record_type: str | bytes, txid: bytes, payload: bytes | None = None, sender_id: str = f"vehicle_device.{VIN}"
) -> bytes:
    """Make a message with a record.

    :param payload: one that fits the record type by default.
    """
    topic = record_type.encode() if isinstance(record_type, str) else record_type
    usual = {b"V": V_PAYLOAD, b"alerts": ALERTS_PAYLOAD}.get(topic, b"opaque")
    return write_stream(
        txid=txid,
        topic=topic,
        sender_id=sender_id.encode(),
        payload=usual if payload is None else payload,
        created_at_s=1,
        device_type=b"",
        device_id=b"",
    )


def framed(*envelopes: bytes) -> bytes:
    """Frame envelopes as the gateway does."""
    return b"".join(binary_frame_header(len(envelope)) + envelope for envelope in envelopes)


def acks(record_type: str, *txids: bytes) -> bytes:
    """The frames that acknowledge records of one type."""
    return framed(*(envelope_form.ack(record_type, txid) for txid in txids))


def error(txid: bytes = b"") -> bytes:
    """The frame of the error reply."""
    return framed(envelope_form.error_reply(txid))


def answers(session: Session, messages: Sequence[bytes]) -> bytes:
    """Give a session the messages of one read; returns the replies that left by its link at once."""
    link = session._link
    if not isinstance(link, Link):
        raise TypeError("the session is not of ``SessionCase``")
    sent_before = len(link.sent)
    session.received(messages)
    replies = link.sent[sent_before:]
    del link.sent[sent_before:]
    return b"".join(replies)


@implementer(IDispatcher)
class RecordingSink(LaneSink):
    """A sink that takes every batch, and answers on ``answer``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.records: list[Record] = []
        self._open: list[tuple[int, Deferred[Sequence[Outcome]]]] = []

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """Keep the records until ``answer``."""
        self.records += batch
        answer: Deferred[Sequence[Outcome]] = Deferred()
        self._open.append((len(batch), answer))
        return answer

    def answer(self, outcome: Outcome = RECEIPT) -> None:
        """Give all records in flight one outcome."""
        while self._open:
            count, answer = self._open.pop(0)
            answer.callback([outcome] * count)

    @property
    def txids(self) -> list[bytes]:
        """The txids of all records dispatched, in order."""
        return [record.txid for record in self.records]


class SessionCase(TestCase):
    """Has a gateway with the sinks kafka and logger.

    :ivar room: the number of records that each queue takes.
    :ivar records: the routes.
    :ivar lost: number of acknowledged records that must be lost in the end.
    :ivar spool: the spool, for policies that name it.
    :ivar spools_all: spool records of every type.
    """

    lost = 0
    spools_all = False

    def setUp(self) -> None:
        """Make sinks and link."""
        self.clock = Clock()
        self.log = ReadableLog()
        self.sinks = {name: RecordingSink(name) for name in ("kafka", "logger")}
        self.kafka, self.logger = self.sinks["kafka"], self.sinks["logger"]
        self.spool = MemorySpool(self.clock, 1_000_000)
        self.link = Link()
        self.room = {"kafka": 1000, "logger": 1000}
        self.records: Mapping[str, Sequence[str]] = {"V": ["kafka"], "alerts": ["kafka"], "custom": ["kafka"]}

    def tearDown(self) -> None:
        """Check that the books balance."""
        if hasattr(self, "gateway"):
            assert_balanced(self.metrics, lost=self.lost)

    def make(
        self,
        policies: Mapping[str, str] | None = None,
        *,
        rate_limit: RateLimit | None = None,
        codec: Any = CODEC,  # or one that is broken on purpose
        tracked: Sequence[str] = (),
        max_message_bytes: int = 10_000,
        refuse_unrouted: bool = False,
        debounce_s: float = 0.0,
        deduplication: DeduplicationWindow | None = None,
    ) -> Gateway:
        """Make the gateway, with metrics of its own, the lanes that ``room`` and the routes that ``records`` ask for."""
        self.metrics = ReadableMetrics()
        self.lanes = {
            name: Lane(
                sink,
                BacklogLimits(self.room[name], 1_000_000, 1000, 1000),
                LaneTiming(0.005, 0.5, 30.0, 10.0),
                self.clock,
                self.metrics,
                self.log,
            )
            for name, sink in self.sinks.items()
        }
        routes = self.routes(policies)
        self.spooling = None
        if any(route.is_spooled for route in routes.values()):
            self.spooling = Spooling(self.spool, routes, self.lanes, self.clock, self.metrics, self.log)
            self.spooling.start()
            self.spooling.begin()
        self.gateway = Gateway(
            settings=GatewaySettings(
                codec, max_message_bytes, rate_limit, frozenset(tracked), refuse_unrouted, debounce_s, deduplication
            ),
            routes=TypeRoutes(routes, self.lanes, self.metrics, self.spooling),
            metrics=self.metrics,
            log=self.log,
            clock=self.clock,
            wall_ns=self.wall_ns,
        )
        return self.gateway

    def routes(self, policies: Mapping[str, str] | None = None) -> Mapping[str, Route]:
        """The routes that ``records`` and these policies make."""
        return build_routes(
            self.records,
            {each: read_policy(text, self.records[each]) for each, text in (policies or {}).items()},
            spools_all=self.spools_all,
        )

    def session(self, policies: Mapping[str, str] | None = None, **how: Any) -> Session:  # as ``make`` takes it
        """Make the gateway, and connect a vehicle."""
        return self.make(policies, **how).connected(vehicle(), self.link)

    def wall_ns(self) -> int:
        """The time of the wall clock, which stands still by default."""
        return NOW_NS

    def dispatch(self) -> None:
        """Let the linger timeout pass."""
        self.clock.advance(0.005)

    def value(self, name: str, *labels: str) -> float:
        """The value of a metric."""
        return self.metrics.value(name, *labels)
