from unittest import TestCase

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from websockets.frames import Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from fleetgw.adapters.codec import envelope
from fleetgw.domain.records import PeerIdentity
from fleetgw.simulator.conversation import (
    Acked,
    Closed,
    Conversation,
    Issued,
    NotOpened,
    Opened,
    Refused,
    Sent,
    Stray,
    Unreadable,
)
from fleetgw.simulator.outbox import Outbox, Unacked

IDENTITY = PeerIdentity("vehicle_device", "5YJ3E1EA7KF000316")
RESEND_AFTER_S = 10.0


class Server:
    """The other side of one connection, as bytes."""

    def __init__(self):
        self._protocol = ServerProtocol()
        self.request = None
        self.envelopes = []

    def read(self, data):
        """Take the vehicle's bytes; the bytes that answer the upgrade, control frames, or nothing."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self.request = event
                self._protocol.send_response(self._protocol.accept(event))
            elif event.opcode is Opcode.BINARY:
                self.envelopes.append(envelope.read(bytes(event.data)))
        return self._written()

    def refuse(self, data, status):
        self._protocol.receive_data(data)
        self._protocol.events_received()
        self._protocol.send_response(self._protocol.reject(status, "no"))
        return self._written()

    def ack(self, record, split=0):
        head, tail = envelope.ack_parts(record.topic, len(record.txid))
        return self.message(head + record.txid + tail, split)

    def error(self, txid):
        return self.message(envelope.error_reply(txid))

    def message(self, content, split=0):
        if split:
            self._protocol.send_binary(content[:split], fin=False)
            self._protocol.send_ping(b"in between")
            self._protocol.send_continuation(content[split:], fin=True)
        else:
            self._protocol.send_binary(content)
        return self._written()

    def close(self, code, reason):
        self._protocol.send_close(code, reason)
        return self._written()

    def _written(self):
        return b"".join(self._protocol.data_to_send())


def make(limit=10, headers=None):
    outbox = Outbox(limit, RESEND_AFTER_S)
    return Conversation("wss://localhost:4443/", IDENTITY, outbox, headers), outbox


def opened(conversation, now_s=0.0):
    """Complete the upgrade; returns the server, the later writes and the later events."""
    server = Server()
    output = conversation.received(server.read(conversation.connected()), now_s)
    return server, output


class ConversationTests(TestCase):
    def test_the_upgrade_request(self):
        conversation, _ = make(headers={"Version": "1.2.3", "X-TXID": "mine"})
        server, output = opened(conversation)
        self.assertEqual(server.request.headers["Version"], "1.2.3")
        self.assertEqual(server.request.headers.get_all("X-TXID"), ["mine"])
        self.assertNotIn("Sec-WebSocket-Extensions", server.request.headers)
        self.assertEqual(output.events, [Opened(again=False)])
        self.assertTrue(conversation.is_open)

    def test_a_record_and_its_ack(self):
        conversation, outbox = make()
        server, _ = opened(conversation)
        txid, output = conversation.issue("V", b"payload", 1.0, 1_795_461_509)
        self.assertEqual(output.events, [Issued("V", txid), Sent("V", txid, again=False)])
        server.read(output.data)
        record = server.envelopes[0]
        self.assertEqual((record.txid, record.topic, record.payload), (txid, b"V", b"payload"))
        self.assertEqual(record.sender_id, b"vehicle_device.5YJ3E1EA7KF000316")
        self.assertEqual((record.message_type, record.has_message), (4, True))
        output = conversation.received(server.ack(record), 1.5)
        self.assertEqual((output.events, output.ends), ([Acked("V", txid, 0.5)], False))
        self.assertEqual(len(outbox), 0)
        self.assertEqual(conversation.received(server.ack(record), 2.0).events, [Stray(txid)])

    def test_an_ack_in_fragments_and_single_bytes(self):
        conversation, _ = make()
        server, _ = opened(conversation)
        txid, output = conversation.issue("V", b"payload", 1.0, 0)
        server.read(output.data)
        events = []
        answers = b""
        for byte in server.ack(server.envelopes[0], split=20):
            output = conversation.received(bytes([byte]), 2.0)
            events += output.events
            answers += output.data
        self.assertEqual(events, [Acked("V", txid, 1.0)])
        self.assertEqual(answers[0], 0x8A)  # the pong

    def test_a_refused_record_is_not_sent_again(self):
        conversation, outbox = make()
        server, _ = opened(conversation)
        txid, _ = conversation.issue("V", b"payload", 1.0, 0)
        self.assertEqual(conversation.received(server.error(txid), 2.0).events, [Refused("V", txid)])
        self.assertEqual(len(outbox), 0)
        self.assertEqual(conversation.resend_overdue(100.0), (b"", [], False))

    def test_an_error_reply_without_a_txid(self):
        conversation, outbox = make()
        server, _ = opened(conversation)
        conversation.issue("V", b"payload", 1.0, 0)
        self.assertEqual(conversation.received(server.error(b""), 2.0).events, [Stray(b"")])
        self.assertEqual(len(outbox), 1)

    def test_messages_that_are_no_answers(self):
        conversation, _ = make()
        server, _ = opened(conversation)
        record = envelope.write_stream(
            txid=b"t", topic=b"V", sender_id=b"", payload=b"?", created_at_s=0, device_type=b"", device_id=b""
        )
        for message in (b"\xff\xff\xff\xff", b"", record):
            with self.subTest(message):
                self.assertEqual(conversation.received(server.message(message), 2.0).events, [Unreadable(message)])

    def test_an_overdue_record_is_sent_again_with_its_txid(self):
        conversation, _ = make()
        server, _ = opened(conversation)
        first, output = conversation.issue("V", b"1", 0.0, 0)
        server.read(output.data)
        second, output = conversation.issue("V", b"2", 5.0, 0)
        server.read(output.data)
        self.assertEqual(conversation.resend_overdue(9.9).events, [])
        output = conversation.resend_overdue(10.0)
        self.assertEqual(output.events, [Sent("V", first, again=True)])
        server.read(output.data)
        self.assertEqual(server.envelopes[2], server.envelopes[0])
        self.assertEqual(conversation.resend_overdue(15.0).events, [Sent("V", second, again=True)])
        output = conversation.received(server.ack(server.envelopes[0]), 16.0)
        self.assertEqual(output.events, [Acked("V", first, 16.0)])

    def test_records_wait_for_the_next_connection(self):
        conversation, _ = make()
        waiting, output = conversation.issue("V", b"1", 0.0, 0)
        self.assertEqual((output.data, output.events), (b"", [Issued("V", waiting)]))
        server, output = opened(conversation, now_s=1.0)
        self.assertEqual(output.events, [Opened(again=False), Sent("V", waiting, again=False)])
        server.read(output.data)
        unanswered, _ = conversation.issue("alerts", b"2", 2.0, 0)
        self.assertEqual(conversation.disconnected("gone"), [Closed(1006, "gone", wanted=False)])
        self.assertFalse(conversation.is_open)
        server, output = opened(conversation, now_s=3.0)
        self.assertEqual(
            output.events, [Opened(again=True), Sent("V", waiting, again=True), Sent("alerts", unanswered, again=True)]
        )
        server.read(output.data)
        self.assertEqual([record.txid for record in server.envelopes], [waiting, unanswered])

    def test_the_server_closes(self):
        conversation, _ = make()
        server, _ = opened(conversation)
        output = conversation.received(server.close(1001, "shutting down"), 1.0)
        self.assertEqual(output.events, [Closed(1001, "shutting down", wanted=False)])
        self.assertTrue(output.ends)
        self.assertEqual(output.data[0], 0x88)
        self.assertEqual(conversation.disconnected("gone"), [])
        self.assertEqual(conversation.close(), b"")

    def test_a_close_frame_in_the_same_read_as_the_upgrade(self):
        conversation, _ = make()
        conversation.issue("V", b"1", 0.0, 0)
        server = Server()
        output = conversation.received(server.read(conversation.connected()) + server.close(1013, "full"), 1.0)
        self.assertEqual(output.events, [Opened(again=False), Closed(1013, "full", wanted=False)])

    def test_the_vehicle_closes(self):
        conversation, _ = make()
        server, _ = opened(conversation)
        txid, output = conversation.issue("V", b"1", 0.0, 0)
        server.read(output.data)
        answer = server.ack(server.envelopes[0])
        output = conversation.received(answer + server.read(conversation.close()), 1.0)
        self.assertEqual(output.events, [Acked("V", txid, 1.0), Closed(1000, "", wanted=True)])

    def test_the_server_breaks_the_protocol(self):
        conversation, _ = make()
        opened(conversation)
        output = conversation.received(b"\xf2\x00", 1.0)
        self.assertTrue(output.ends)
        self.assertEqual([type(event) for event in output.events], [Closed])
        self.assertIn("broke the protocol", output.events[0].reason)

    def test_upgrades_that_are_refused(self):
        conversation, _ = make()
        output = conversation.received(Server().refuse(conversation.connected(), 403), 1.0)
        self.assertEqual(output.events, [NotOpened(403, "Forbidden")])
        self.assertTrue(output.ends)
        for answer, status in ((b"HTTP/1.1 503 Full\r\n\r\n", 503), (b"", 0), (b"HTTP/1.1 1", 0)):
            with self.subTest(answer):
                conversation.connected()
                self.assertEqual(conversation.received(answer, 1.0).events, [])
                (event,) = conversation.disconnected("the connection was lost")
                self.assertEqual((type(event), event.status), (NotOpened, status))
        conversation.connected()
        (event,) = conversation.received(b"SSH-2.0-nonsense\r\n", 1.0).events
        self.assertEqual((type(event), event.status), (NotOpened, 0))

    def test_bytes_when_nothing_is_open(self):
        conversation, _ = make()
        self.assertEqual(conversation.received(b"x", 0.0), (b"", [], False))
        with self.assertRaises(ConnectionError):
            conversation.binary_message(b"x")

    def test_the_outbox_is_bounded_and_txids_differ(self):
        conversation, outbox = make(limit=2)
        conversation.issue("V", b"", 0.0, 0, b"a")
        with self.assertRaises(ValueError):
            conversation.issue("V", b"", 0.0, 0, b"a")
        conversation.issue("V", b"", 0.0, 0)
        self.assertTrue(outbox.full)
        with self.assertRaises(OverflowError):
            conversation.issue("V", b"", 0.0, 0)
        self.assertRaises(ValueError, Conversation, "http://localhost", IDENTITY, outbox)

    def test_overdue_ends_at_records_that_were_never_sent(self):
        outbox = Outbox(10, RESEND_AFTER_S)
        outbox.put(Unacked("V", b"a", b""))
        self.assertEqual(outbox.overdue(1000.0), [])

    def test_an_answer_to_a_record_that_was_never_sent(self):
        outbox = Outbox(10, RESEND_AFTER_S)
        outbox.put(Unacked("V", b"a", b""))
        self.assertIsNone(outbox.settle(b"a", 1.0))
        self.assertEqual(len(outbox), 1)


class AnyLife(RuleBasedStateMachine):
    """A vehicle with a server that acks, refuses, repeats replies, stays silent and disconnects in any order."""

    def __init__(self):
        super().__init__()
        self.outbox = Outbox(20, RESEND_AFTER_S)
        self.conversation = Conversation("wss://localhost/", IDENTITY, self.outbox)
        self.server = None
        self.now_s = 0.0
        self.issued = {}
        self.sent = []
        self.acked = []
        self.refused = []
        self.opened = 0
        self.closed = 0
        self.reached_server = []

    def take(self, output):
        for event in output.events:
            match event:
                case Sent(_, txid, again):
                    assert again == (txid in self.sent), "only the first copy is a first copy"
                    self.sent.append(txid)
                case Acked(_, txid, latency_s):
                    assert latency_s >= 0
                    self.acked.append(txid)
                case Refused(_, txid):
                    self.refused.append(txid)
                case Opened(again):
                    assert again == (self.opened > 0)
                    self.opened += 1
                case Closed() | NotOpened():
                    self.closed += 1
        if self.server is not None and output.data:
            before = len(self.server.envelopes)
            self.server.read(output.data)
            self.reached_server += self.server.envelopes[before:]

    @rule(size=st.integers(0, 300))
    def issue(self, size):
        if self.outbox.full:
            return
        payload = bytes([len(self.issued) % 256]) * size
        txid, output = self.conversation.issue("V", payload, self.now_s, 0)
        assert txid not in self.issued
        self.issued[txid] = payload
        self.take(output)

    @precondition(lambda self: self.server is None)
    @rule()
    def connect(self):
        self.server = Server()
        self.take(self.conversation.received(self.server.read(self.conversation.connected()), self.now_s))

    @precondition(lambda self: self.server is not None)
    @rule(data=st.data())
    def answer(self, data):
        if not self.server.envelopes:
            return
        record = data.draw(st.sampled_from(self.server.envelopes))
        is_ack = data.draw(st.booleans())
        reply = self.server.ack(record, data.draw(st.integers(0, 30))) if is_ack else self.server.error(record.txid)
        cut = data.draw(st.integers(0, len(reply)))
        self.take(self.conversation.received(reply[:cut], self.now_s))
        self.take(self.conversation.received(reply[cut:], self.now_s))

    @rule(elapsed_s=st.floats(0, 2 * RESEND_AFTER_S))
    def wait(self, elapsed_s):
        self.now_s += elapsed_s
        self.take(self.conversation.resend_overdue(self.now_s))

    @precondition(lambda self: self.server is not None)
    @rule()
    def vanish(self):
        self.server = None
        self.closed += len(self.conversation.disconnected("gone"))

    @invariant()
    def books_balance(self):
        settled = self.acked + self.refused
        assert len(settled) == len(set(settled)), "one record is settled once"
        assert set(settled) <= set(self.sent) <= set(self.issued)
        assert {record.txid for record in self.outbox} == set(self.issued) - set(settled)
        assert self.opened - self.closed == (self.server is not None)

    @invariant()
    def copies_are_equal(self):
        for record in self.reached_server:
            assert record.payload == self.issued[record.txid]
        assert [record.txid for record in self.reached_server] == self.sent

    @invariant()
    def nothing_is_forgotten_while_connected(self):
        if self.server is not None:
            assert {record.txid for record in self.outbox} <= {record.txid for record in self.server.envelopes}


AnyLifeTests = AnyLife.TestCase
AnyLifeTests.settings = settings(max_examples=60, stateful_step_count=40)
