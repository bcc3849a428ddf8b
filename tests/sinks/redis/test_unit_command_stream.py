"""The commands to a Redis server, and the results that its replies give; the names of channels and sets."""

from unittest import TestCase
from unittest.mock import patch

from hiredis import Reader
from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.sinks.redis.cluster import read_slots
from fleetgw.adapters.sinks.redis.command_stream import CommandStream
from fleetgw.adapters.sinks.redis.names import Names
from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.replies import LoggedOut, Misplaced, Moved
from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.adapters.sinks.redis.stages import MAX_SUBSCRIBERS
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.domain.errors import NotConnected, Rejected, Retryable
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor, make_record
from tests.support.redis.memory import MANY_BYTES, MemoryRedis

NOW = 1000
KEY, OTHER_KEY = b"subs_ns_V_{VIN0}", b"subs_ns_V_{VIN1}"
CHANNEL = b"ns_V_{VIN0}"


def names(*, vin_topics: bool = True, set_prefix: str = "subs") -> Names:
    context = SinkContext("redis", {}, "ns", ("V",), ThreadlessReactor(), ReadableMetrics(), ReadableLog())
    return Names(context, vin_topics=vin_topics, set_prefix=set_prefix)


def part(*vins: int, payload: bytes = b"payload") -> Part:
    records = [make_record(f"VIN{vin}", payload=payload + b" %d" % place) for place, vin in enumerate(vins)]
    return Part(Dispatch(records), range(len(records)), records)


def send(stream: CommandStream, *parts: Part) -> bytes:
    stream.publish(parts, NOW)
    return stream.encode(MANY_BYTES)


def receive(stream: CommandStream, data: bytes) -> bytes:
    stream.receive(data)
    return stream.encode(MANY_BYTES)


def commands(sent: bytes) -> list[list[bytes]]:
    reader = Reader()
    reader.feed(sent)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    return found


class SendingTests(TestCase):
    def test_vin_topics_take_one_round(self) -> None:
        sent = send(CommandStream(names(set_prefix="")), part(0, 0))
        self.assertEqual(commands(sent), [[b"PUBLISH", CHANNEL, b"payload 0"], [b"PUBLISH", CHANNEL, b"payload 1"]])

    def test_a_set_is_looked_up_once_for_all_its_records(self) -> None:
        stream = CommandStream(names())
        sent = send(stream, part(0, 1, 0), part(1))
        self.assertEqual(
            commands(sent),
            [
                [b"ZREMRANGEBYSCORE", KEY, b"-inf", b"(1000"],
                [b"ZRANGEBYSCORE", KEY, b"1000", b"+inf"],
                [b"ZREMRANGEBYSCORE", OTHER_KEY, b"-inf", b"(1000"],
                [b"ZRANGEBYSCORE", OTHER_KEY, b"1000", b"+inf"],
            ],
        )
        self.assertEqual(receive(stream, b":0\r\n*1\r\n$1\r\na\r\n:0\r\n"), b"", "one answer is missing")
        sent = receive(stream, b"*0\r\n")
        self.assertEqual(
            [channel for _, channel, _ in commands(sent)], [b"a", CHANNEL, b"ns_V_{VIN1}", b"a", CHANNEL, b"ns_V_{VIN1}"]
        )

    def test_a_record_with_a_result_is_not_sent_again(self) -> None:
        one = part(0, 0)
        one.results[0] = 1
        sent = send(CommandStream(names(set_prefix="")), one)
        self.assertEqual([payload for _, _, payload in commands(sent)], [b"payload 1"])
        done = part(0)
        done.results[0] = 1
        stream = CommandStream(names())
        self.assertEqual(send(stream, done), b"")
        self.assertEqual(stream.take_finished(), [done])

    def test_the_first_unanswered_record(self) -> None:
        stream = CommandStream(names())
        one, other = part(0), part(1)
        self.assertIsNone(stream.first_unanswered)
        stream.publish([one], NOW)
        stream.publish([other], NOW)
        self.assertIsNone(stream.first_unanswered, "nothing has been sent yet")
        stream.encode(MANY_BYTES)
        self.assertIs(stream.first_unanswered, one.records[0])
        receive(stream, b":0\r\n*0\r\n")
        self.assertIs(stream.first_unanswered, other.records[0])
        receive(stream, b":0\r\n*0\r\n")
        self.assertIs(stream.first_unanswered, one.records[0], "records are published after the lookups")
        receive(stream, b":1\r\n:1\r\n")
        self.assertIsNone(stream.first_unanswered)

    def test_commands_are_encoded_only_when_asked_for(self) -> None:
        """Until then only the records take memory."""
        stream = CommandStream(names(set_prefix=""))
        one = part(*[0] * 50, payload=bytes(1000))
        stream.publish([one], NOW)
        first = stream.encode(2500)
        self.assertEqual((stream.commands_encoded, len(commands(first))), (3, 3))
        rest = b"".join(iter(lambda: stream.encode(2500), b""))
        self.assertEqual([command[2] for command in commands(first + rest)], [record.payload for record in one.records])

    def test_a_set_with_too_many_members(self) -> None:
        """One vehicle's records are published to a bounded number of channels, and the others' pass."""
        stream = CommandStream(names())
        one = part(0, 1)
        send(stream, one)
        members = b"".join(b"$5\r\n%05d\r\n" % number for number in range(MAX_SUBSCRIBERS + 1))
        reply = b"*%d\r\n%b" % (MAX_SUBSCRIBERS + 1, members)
        self.assertEqual(len(commands(receive(stream, b":0\r\n" + reply + b":0\r\n*0\r\n"))), 1)
        receive(stream, b":1\r\n")
        self.assertRegex(str(one.results[0]), "the vehicle's set has 10001 members, more than 10000")
        self.assertIs(type(one.results[0]), Retryable)
        self.assertEqual(one.results[1], 1)


class NamesTests(TestCase):
    def test_vins_that_cannot_be_part_of_a_name(self) -> None:
        for vin in ("a" * 129, "a{b", "}", "a\nb", "a\0", " a", "a ", "\x85", "\u2028", "\ud800"):
            with self.subTest(vin=vin):
                refusal = names().refusal(make_record(vin))
                self.assertIsInstance(refusal, Rejected)
                self.assertLess(len(str(refusal)), 300)
        for vin in ("5YJ3E1EA7KF000001", "", "a" * 128, "a b", "ü"):
            self.assertIsNone(names().refusal(make_record(vin)))

    def test_the_cache_of_vins_is_bounded(self) -> None:
        some = names()
        with patch("fleetgw.adapters.sinks.redis.names.KNOWN_VINS", 10):
            for number in range(100):
                some.channel(make_record(f"VIN{number}"))
        self.assertLessEqual(len(some._vins), 10)

    def test_a_brace_in_the_prefix(self) -> None:
        """The set decides on the slot, also where its name has a brace before the one of the VIN."""
        some = names(set_prefix="{subs}")
        self.assertEqual(some.slot_key(make_record("VIN0")), b"{subs}_ns_V_{VIN0}")
        self.assertEqual(names(set_prefix="").slot_key(make_record("VIN0")), CHANNEL)


class ReceivingTests(TestCase):
    def result(self, reply: bytes) -> object:
        stream = CommandStream(names(set_prefix=""))
        one = part(0)
        send(stream, one)
        receive(stream, reply)
        self.assertEqual(stream.take_finished(), [one])
        return one.results[0]

    def test_errors_of_a_publish(self) -> None:
        kinds = {
            b"-MOVED 1 h:1\r\n": Moved,
            b"-ASK 1 h:1\r\n": Moved,
            b"-CLUSTERDOWN The cluster is down\r\n": Moved,
            b"-READONLY You can't write\r\n": Misplaced,
            b"-NOAUTH Authentication required.\r\n": LoggedOut,
            b"-NOPERM no\r\n": Retryable,
            b"-LOADING soon\r\n": Retryable,
            b"-WRONGTYPE no set\r\n": Rejected,
            b"-ERR Protocol error: invalid bulk length\r\n": Rejected,
        }
        for reply, kind in kinds.items():
            with self.subTest(reply=reply):
                result = self.result(reply)
                self.assertIs(type(result), kind)
                self.assertEqual(str(result), reply[1:-2].decode())

    def test_an_error_of_one_channel_is_the_result_of_the_record(self) -> None:
        stream = CommandStream(names())
        one = part(0)
        send(stream, one)
        receive(stream, b":0\r\n*1\r\n$1\r\na\r\n")
        receive(stream, b"-NOPERM a\r\n:7\r\n")
        self.assertIsInstance(one.results[0], Retryable)
        self.assertEqual(stream.take_finished(), [one])

    def test_an_error_of_a_set_is_the_result_of_its_records_only(self) -> None:
        stream = CommandStream(names())
        one = part(0, 1)
        send(stream, one)
        sent = receive(stream, b"-WRONGTYPE x\r\n-WRONGTYPE x\r\n:0\r\n*0\r\n")
        self.assertEqual([channel for _, channel, _ in commands(sent)], [b"ns_V_{VIN1}"])
        receive(stream, b":3\r\n")
        self.assertIsInstance(one.results[0], Rejected)
        self.assertEqual(one.results[1], 3)

    def test_channels_without_a_receiver_are_kept(self) -> None:
        stream = CommandStream(names())
        one = part(0, 1)
        send(stream, one)
        receive(stream, b":0\r\n*1\r\n$1\r\na\r\n:0\r\n*0\r\n")
        receive(stream, b":0\r\n:0\r\n:1\r\n")
        self.assertEqual(one.results, [0, 1])
        self.assertEqual(one.channels, {0: [b"a", CHANNEL]})

    def test_replies_of_another_protocol(self) -> None:
        for reply in (b"HTTP/1.1 400 Bad Request\r\n", b"\x15\x03\x01\x00\x02\x02\x0a"):
            stream = CommandStream(names(set_prefix=""))
            send(stream, part(0))
            with self.assertRaises(NotConnected):
                receive(stream, reply)

    def test_a_reply_without_a_command(self) -> None:
        with self.assertRaisesRegex(NotConnected, "an answer to nothing: 1"):
            CommandStream(names()).receive(b":1\r\n")

    @given(st.data())
    def test_replies_in_any_pieces(self, data: st.DataObject) -> None:
        """Each channel gets each vehicle's records in order, for any sets, pieces and moments."""
        server = MemoryRedis()
        for vin in range(3):
            members = data.draw(st.dictionaries(st.binary(max_size=4), st.integers(990, 1010), max_size=3))
            server.sets[b"subs_ns_V_{VIN%d}" % vin] = dict(members)
        deaf = data.draw(st.sets(st.binary(max_size=4), max_size=2))
        server.listens = lambda channel: channel not in deaf
        vin_topics = data.draw(st.booleans())
        stream = CommandStream(names(vin_topics=vin_topics))
        parts = [
            part(*data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4)), payload=b"part %d" % number)
            for number in range(data.draw(st.integers(1, 4)))
        ]
        asked, answers, finished = Reader(), bytearray(), []
        waiting = list(parts)
        while waiting or stream.unfinished():
            if waiting and (not stream.unfinished() or not data.draw(st.booleans())):
                asked.feed(send(stream, waiting.pop(0)))
            while (command := asked.gets()) is not False:
                answers += server.execute(command)
            size = len(answers) - data.draw(st.integers(0, len(answers)))
            asked.feed(receive(stream, bytes(answers[:size])))
            del answers[:size]
            finished += stream.take_finished()
        self.assertEqual(set(finished), {*parts})
        self.assertEqual(len(finished), len(parts))
        expected: dict[bytes, list[bytes]] = {}
        for one in parts:
            for record, result in zip(one.records, one.results, strict=True):
                live = server.sets[b"subs_ns_V_{%b}" % record.vin.encode()]
                self.assertTrue(all(score >= NOW for score in live.values()))
                channels = [*live, *([b"ns_V_{%b}" % record.vin.encode()] if vin_topics else [])]
                self.assertEqual(result, sum(server.listens(channel) for channel in channels))
                for channel in channels:
                    expected.setdefault(channel, []).append(record.payload)
        published: dict[bytes, list[bytes]] = {}
        for channel, payload in server.published:
            published.setdefault(channel, []).append(payload)
        self.assertEqual(published, expected)


class ClusterMapTests(TestCase):
    def test_slots(self) -> None:
        reply = [
            [0, 8191, [b"10.0.0.1", 7000, b"id"], [b"10.0.0.3", 7002, b"id", []]],
            [8192, 16000, [b"", 7001, b"id"]],
        ]
        found = read_slots(reply, Address("asked", 1))
        self.assertEqual(found.masters[0], Address("10.0.0.1", 7000))
        self.assertEqual(found.masters[8191], Address("10.0.0.1", 7000))
        self.assertEqual(found.masters[8192], Address("asked", 7001))
        self.assertEqual(found.masters.count(None), 16383 - 16000)
        self.assertEqual(found.nodes, (("10.0.0.1", 7000), ("10.0.0.3", 7002), ("asked", 7001)))
        self.assertEqual(found.master(b"ns_V_{VIN}"), found.master(b"subs_ns_alerts_{VIN}"))

    def test_no_slots(self) -> None:
        for reply in ([], None, b"strange"):
            self.assertEqual(read_slots(reply, Address("asked", 1)).nodes, ())
