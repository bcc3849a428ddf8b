"""The same bytes to stock Autobahn and to a connection of ours must have the same result."""

import struct
from itertools import pairwise
from typing import Any
from unittest import TestCase

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from websockets.frames import apply_mask

from fleetgw.adapters.ingress.connection import VehicleConnection
from fleetgw.adapters.ingress.factory import VehicleFactory
from fleetgw.adapters.ingress.limits import IngressLimits
from fleetgw.domain.identity import DEFAULT_ISSUERS
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.client_certificates import client_certificate, root_authority
from tests.support.raw_vehicle import UPGRADE

LIMIT = 70_000
"""Maximum size of a frame and of a message: above the largest frame of the fast path, so that both paths are tested."""
CLOSES = (1000, 1001, 1002, 1004, 1006, 1007, 1014, 2999, 3000, 4999, 5000, 0)
CERTIFICATE = client_certificate(root_authority("TeslaMotors"), "5YJ3E1EA7KF000001").certificate

Event = tuple[str, object]


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """A server's frames: first byte and payload."""
    found = []
    while data:
        size, head = data[1], 2
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(data[2:head], "big")
        found.append((data[0], data[head : head + size]))
        data = data[head + size :]
    return found


class Oracle(WebSocketServerProtocol):
    """Stock Autobahn, which a text message closes as in our gateway."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = WebSocketServerFactory(reactor=Clock())
        self.factory.setProtocolOptions(
            maxFramePayloadSize=LIMIT,
            maxMessagePayloadSize=LIMIT,
            failByDrop=False,
            openHandshakeTimeout=0,
            closeHandshakeTimeout=0,
        )
        self.events: list[Event] = []
        self.dropped = False
        self.transport = self
        self._connectionMade()
        self.state = self.STATE_OPEN
        self.inside_message = False
        self.current_frame = None
        self.websocket_version = 13

    def onMessageBegin(self, isBinary: bool) -> None:
        super().onMessageBegin(isBinary)
        if not isBinary and self.state == self.STATE_OPEN:
            self._fail_connection(1003, "text")

    def _onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.events.append(("message", payload))

    def sendPong(self, payload: bytes | None = None) -> None:
        self.events.append(("pong", payload))

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        if self.state == self.STATE_OPEN:
            self.events.append(("close", self.remoteCloseCode if isReply else code))
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def write(self, data: bytes) -> None:
        """Do nothing: the methods above record the frames sent."""

    def unregisterProducer(self) -> None:
        pass

    def loseConnection(self) -> None:
        self.dropped = True

    abortConnection = loseConnection

    @property
    def ended(self) -> bool:
        return self.dropped or bool(self.failedByMe)


class Replying:
    """A gateway and its session, which answers each message with its number."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    def connected(self, vehicle: object, link: VehicleConnection) -> "Replying":
        self.link = link
        return self

    def received(self, messages: list[bytes]) -> None:
        first = len(self.messages)
        self.messages += messages
        self.link.write(b"".join(b"\x82\x04" + struct.pack("!L", first + number) for number in range(len(messages))))

    def disconnected(self) -> None:
        pass


class PlainTransport:
    """A transport in place of TLS."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.peer_certificate = CERTIFICATE.public_bytes(Encoding.DER)
        self.sent = b""
        self.ended = False
        self.heard_at = 0.0
        self.has_unsent = False

    def write(self, data: bytes) -> None:
        if self.ended:
            raise AssertionError("written behind the end")
        self.sent += data

    def loseConnection(self) -> None:
        self.ended = True

    abortConnection = loseConnection

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)


class Ours:
    """An upgraded connection."""

    def __init__(self) -> None:
        self.session = Replying()
        self.log = ReadableLog()
        self.transport = PlainTransport()
        limits = IngressLimits(10, 30, 25, 20, 10, LIMIT, LIMIT, 1 << 20, 0)
        gateway: Any = self.session
        factory = VehicleFactory(gateway, DEFAULT_ISSUERS, limits, Clock(), ReadableMetrics(), self.log)
        self.connection = factory.buildProtocol(None)
        self.connection.makeConnection(self.transport)
        self.connection.dataReceived(UPGRADE)
        self.transport.sent = b""

    def receive(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    @property
    def events(self) -> list[Event]:
        found: list[Event] = []
        for first, payload in server_frames(self.transport.sent):
            if first == 0x82:
                found.append(("message", self.session.messages[struct.unpack("!L", payload)[0]]))
            elif first == 0x8A:
                found.append(("pong", payload))
            else:
                found.append(("close", struct.unpack("!H", payload[:2])[0] if payload else None))
        return found


def frame(
    opcode: int, payload: bytes, *, fin: bool, rsv: int, mask: bytes | None, form: str, announced: int | None
) -> bytes:
    size = len(payload) if announced is None else announced
    if form == "short" and size > 125:
        form = "16"
    if form == "16" and size > 65535:
        form = "64"
    head = bytes([fin << 7 | rsv << 4 | opcode])
    masked = 0x80 if mask is not None else 0
    head += {
        "short": lambda: bytes([masked | size]),
        "16": lambda: bytes([masked | 126]) + size.to_bytes(2, "big"),
        "64": lambda: bytes([masked | 127]) + size.to_bytes(8, "big"),
    }[form]()
    return head + (mask + apply_mask(payload, mask) if mask is not None else payload)


payloads = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([bytes(125), bytes(126), bytes(range(256)) * 2, b"x" * 65535, b"x" * 65536, b"y" * 40_000]),
    st.sampled_from(CLOSES).map(lambda code: struct.pack("!H", code)),
    st.tuples(st.sampled_from(CLOSES), st.binary(max_size=8)).map(lambda each: struct.pack("!H", each[0]) + each[1]),
)
frames = st.builds(
    frame,
    opcode=st.sampled_from([2] * 8 + [0] * 6 + [9] * 3 + [10, 10, 8, 1, 3, 7, 11, 15]),
    payload=payloads,
    fin=st.sampled_from([True, True, True, False]),
    rsv=st.sampled_from([0] * 30 + [1, 2, 4, 7]),
    mask=st.sampled_from([b"mask", b"\x01\x02\xfe\xff", bytes(4)] * 4 + [None]),
    form=st.sampled_from(["short"] * 12 + ["16", "64"]),
    announced=st.sampled_from([None] * 30 + [LIMIT - 1, LIMIT, LIMIT + 1, 2**31, 2**62, 2**63 - 1, 2**63, 2**64 - 1]),
)
good_frames = st.builds(
    frame,
    opcode=st.sampled_from([2, 2, 2, 9, 10]),
    payload=st.binary(max_size=125),
    fin=st.just(True),
    rsv=st.just(0),
    mask=st.binary(min_size=4, max_size=4),
    form=st.just("short"),
    announced=st.none(),
)


@st.composite
def fragmented(draw: st.DrawFn) -> bytes:
    """A message in pieces, with control frames between them."""
    pieces = draw(st.lists(st.binary(max_size=200), min_size=2, max_size=6))
    sent = b""
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        opcode = 0 if number else 2
        sent += frame(opcode, piece, fin=last, rsv=0, mask=b"\x01\x02\x03\x04", form="short", announced=None)
        if draw(st.booleans()):
            sent += frame(9, b"between", fin=True, rsv=0, mask=b"abcd", form="short", announced=None)
    return sent


streams = st.lists(st.one_of(good_frames, good_frames, fragmented(), frames), max_size=12).map(b"".join)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in pairwise(edges)]


class DifferentialTests(TestCase):
    def compare(self, pieces: list[bytes]) -> None:
        oracle, ours = Oracle(), Ours()
        for piece in pieces:
            if not oracle.ended:
                oracle._dataReceived(piece)
            ours.receive(piece)
        self.assertEqual(ours.events, oracle.events)
        self.assertEqual(ours.transport.ended, oracle.ended)
        self.assertEqual(ours.log.fields_of("connection_failed"), [])
        return_to_fast = not oracle.ended and not oracle.data and oracle.current_frame is None and not oracle.inside_message
        self.assertEqual((ours.connection._frames is None or ours.connection._frames.reader is None), return_to_fast)

    @settings(max_examples=400)
    @given(streams, st.lists(st.integers(0, 100_000), max_size=8), st.integers(0, 30))
    def test_same_result_for_any_bytes_in_any_pieces(self, data: bytes, cuts: list[int], dropped: int) -> None:
        self.compare(cut(data[: len(data) - dropped], cuts))

    @settings(max_examples=200)
    @given(st.lists(st.one_of(good_frames, fragmented()), max_size=6).map(b"".join))
    def test_same_result_for_valid_frames_byte_by_byte(self, data: bytes) -> None:
        self.compare([data[at : at + 1] for at in range(len(data))])

    @settings(max_examples=200)
    @given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=4))
    def test_same_result_for_noise(self, data: bytes, cuts: list[int]) -> None:
        self.compare(cut(data, cuts))

    def test_every_cut_of_a_mixed_stream(self) -> None:
        data = b"".join(
            frame(opcode, payload, fin=fin, rsv=0, mask=b"\x05\x06\x07\x08", form="short", announced=None)
            for opcode, payload, fin in (
                (2, b"a" * 130, True),
                (9, b"ping", True),
                (2, b"first", False),
                (10, b"", True),
                (0, b"", False),
                (0, b"last", True),
                (2, b"", True),
                (8, struct.pack("!H", 1001) + b"bye", True),
                (2, b"behind", True),
            )
        )
        for at in range(len(data) + 1):
            for width in (1, 3, 7):
                self.compare(cut(data, [at, at + width]))
