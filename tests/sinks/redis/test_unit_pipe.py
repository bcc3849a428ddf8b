"""A pipe to a server that is slow, hangs, closes connections or goes away; clock and server are the test's."""

from unittest import TestCase

from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.poison_records import PoisonRecordDetector, Quarantined, Verdict
from fleetgw.adapters.sinks.redis.progress import Progress
from fleetgw.adapters.sinks.redis.replies import LoggedOut
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.domain.errors import DeliveryError, NotConnected
from fleetgw.domain.ports import NotReady, Readiness, Ready
from fleetgw.domain.records import Record
from fleetgw.testing.sink_doubles import make_record
from tests.sinks.redis.test_unit_command_stream import names
from tests.support.redis.scripted import CLOSE, HANG, Reply, ScriptedRun, ScriptedServer

ONE = b":1\r\n"
Result = int | DeliveryError | None


def one_each(command: list[bytes]) -> Reply:
    return {b"PUBLISH": ONE, b"ZREMRANGEBYSCORE": b":0\r\n", b"ZRANGEBYSCORE": b"*0\r\n"}[command[0]]


class PipeCase(TestCase):
    """Gives records to a pipe, and retries those that fail, as a lane does, until all are delivered."""

    def deliver(self, run: ScriptedRun, records: list[Record], *, offers: int = 30) -> dict[Record, list[Result]]:
        """Run the pipe until every record was confirmed or quarantined; the results of each, in order."""
        results: dict[Record, list[Result]] = {record: [] for record in records}
        open_records = {*records}
        again: list[Record] = []

        def settled(part: Part) -> None:
            for record, result in zip(part.records, part.results, strict=True):
                results[record].append(result)
                if isinstance(result, NotConnected) and len(results[record]) < offers:
                    again.append(record)
                else:
                    open_records.discard(record)
            if again and len(again) == len(open_records):
                offered = sorted(again, key=records.index)
                again.clear()
                run.pipe.submit(self.part(offered))
            if not open_records:
                run.pipe.quit()

        run.on_settled = settled
        run.pipe.submit(self.part(records))
        run.pipe.run()
        self.assertTrue(run.is_closed)
        return results

    def part(self, records: list[Record]) -> Part:
        return Part(Dispatch(records), range(len(records)), records)

    def records(self, count: int, **large: int) -> list[Record]:
        """One record each of ``count`` vehicles; with ``v3=1000`` that of vehicle 3 has 1000 bytes."""
        return [make_record(f"VIN{n}", payload=bytes(large.get(f"v{n}", 10)) or b"") for n in range(count)]


class SlowLinkTests(PipeCase):
    def test_a_large_record_over_a_slow_link_makes_progress(self) -> None:
        """900 kB at 2 Mbit/s take 3.6 s, more than the time-out; no connection is lost over it."""
        server = ScriptedServer(one_each)
        server.bytes_per_s = 250_000
        server.buffer_bytes = 20_000
        run = ScriptedRun(server, names(set_prefix=""), publish_timeout=1_000_000_000)
        results = self.deliver(run, self.records(4, v1=900_000))
        self.assertEqual([*results.values()], [[1]] * 4)
        self.assertEqual(len(server.connected_at_s), 1)
        self.assertGreater(server.now_s - 1000, 2)

    def test_bytes_count_once_the_peer_has_acknowledged_them(self) -> None:
        """The socket takes all at once; the peer acknowledges slowly, but some bytes within each time-out."""
        progress = Progress(5.0)
        progress.sending(1, 100, 0.0)
        for number in range(1, 6):
            progress.update(0, 20 * number, 4.0 * number)
            self.assertEqual(progress.deadline, 4.0 * number + 5)
        self.assertFalse(progress.is_sending)
        progress.update(0, 100, 24.0)
        self.assertEqual(progress.deadline, 25.0, "it has all bytes, and does not reply")

    def test_bytes_of_later_records_are_no_progress_of_the_oldest(self) -> None:
        progress = Progress(5.0)
        self.assertIsNone(progress.deadline)
        progress.sending(1, 100, 0.0)
        progress.update(0, 100, 1.0)
        for number in range(2, 9):
            progress.sending(number, number * 100, float(number))
            progress.update(0, number * 100, float(number))
        self.assertEqual(progress.deadline, 6.0)
        progress.update(1, 900, 10.0)
        self.assertEqual(progress.deadline, 15.0)
        progress.update(8, 900, 11.0)
        self.assertIsNone(progress.deadline)

    def test_a_trickle_of_bytes_is_bounded(self) -> None:
        progress = Progress(5.0)
        progress.sending(1, 10**9, 0.0)
        now = 0.0
        while progress.deadline is not None and progress.deadline > now and now < 1000:
            now += 1
            progress.update(0, int(now), now)
        self.assertEqual(now, 100.0)


class OneRecordTests(PipeCase):
    """A record over which the server closes the connection fails alone."""

    def server_closing_over(self, vin: bytes, *, reply: Reply = CLOSE) -> ScriptedServer:
        """A server that closes the connection, or hangs, over a vehicle's record."""

        def answer(command: list[bytes]) -> Reply:
            return reply if vin in command[1] else one_each(command)

        return ScriptedServer(answer)

    def check(self, server: ScriptedServer, *, sets: bool, connections: int, within_s: float) -> None:
        run = ScriptedRun(server, names(set_prefix="subs" if sets else ""))
        records = self.records(40)
        results = self.deliver(run, records)
        poison = records[17]
        for record in records:
            expected = Quarantined if record is poison else int
            self.assertIs(type(results[record][-1]), expected, record.vin)
        self.assertNotIsInstance(results[poison][-1], NotConnected, "all records would wait for it")
        self.assertRegex(str(results[poison][-1]), "scripted:6379: .* over this record")
        self.assertLessEqual(len(server.connected_at_s), connections)
        self.assertLess(server.now_s - 1000, within_s)

    def test_the_server_closes(self) -> None:
        """As with client-query-buffer-limit: there is no error reply."""
        self.check(self.server_closing_over(b"{VIN17}"), sets=False, connections=8, within_s=5)

    def test_the_server_closes_over_a_set(self) -> None:
        """As with client-output-buffer-limit normal: the reply would be too long."""
        self.check(self.server_closing_over(b"subs_ns_V_{VIN17}"), sets=True, connections=10, within_s=5)

    def test_the_server_hangs(self) -> None:
        self.check(self.server_closing_over(b"{VIN17}", reply=HANG), sets=False, connections=4, within_s=25)

    def test_replies_lost_with_the_connection(self) -> None:
        """The first unanswered record may not be the poison record."""

        class Lossy(ScriptedServer):
            """Answers the commands of one read together, or none of them."""

            def _act(self, server: object) -> None:
                connection = self._connection
                if connection is None or server is not connection.ours:
                    return
                try:
                    connection.commands.feed(connection.theirs.recv(10**9))
                except BlockingIOError:
                    return
                replies = []
                while (command := connection.commands.gets()) is not False:
                    replies.append(self.answer(command))
                if CLOSE in replies:
                    connection.theirs.close()
                    self._connection = None
                else:
                    connection.theirs.sendall(b"".join(reply for reply in replies if reply))

        self.check(Lossy(self.server_closing_over(b"{VIN17}").answer), sets=False, connections=14, within_s=8)

    def test_a_server_that_closes_over_every_record_is_at_fault(self) -> None:
        """At most one record is quarantined; the others fail as not connected, within a bounded time."""
        server = ScriptedServer(lambda _command: CLOSE)
        results = self.deliver(ScriptedRun(server, names(set_prefix="")), self.records(10), offers=1)
        kinds = [type(each[-1]) for each in results.values()]
        self.assertEqual((kinds.count(NotConnected), kinds.count(Quarantined)), (9, 1))
        self.assertLess(server.now_s - 1000, 10)

    def test_a_pipe_for_quarantined_records(self) -> None:
        """Quarantined records are sent one at a time, with a longer time-out, and each fails alone."""
        server = self.server_closing_over(b"{VIN1}", reply=HANG)
        run = ScriptedRun(server, names(set_prefix=""), alone=True)
        records = self.records(3)
        results = self.deliver(run, records)
        self.assertEqual([results[records[0]], results[records[2]]], [[1], [1]])
        (result,) = results[records[1]]
        self.assertIs(type(result), Quarantined)
        self.assertRegex(str(result), "no answer within 50 s")

    def test_losses_are_forgotten_with_the_record(self) -> None:
        detector = PoisonRecordDetector()
        verdicts = [detector.connection_lost(make_record(), alone=True) for _ in range(10)]
        self.assertEqual({*verdicts}, {Verdict.RETRY})
        self.assertEqual(len(detector._losses), 0)


class ConnectingTests(PipeCase):
    def test_away_25_s_there_8_s_five_times(self) -> None:
        """Records are delivered in every window, within a second of its begin; steps of the wall clock have no effect."""
        server = ScriptedServer(one_each)
        server.reachable = lambda now_s: (now_s - 1000) % 33 >= 25
        run = ScriptedRun(server, names(set_prefix=""))
        delivered_at_s: list[float] = []

        def settled(part: Part) -> None:
            server.epoch_now_s += 86_400 * (1 if len(run.settled_at_s) % 2 else -1)
            if part.results == [1]:
                delivered_at_s.append(server.now_s - 1000)
            if server.now_s > 1000 + 5 * 33:
                run.pipe.quit()
            else:
                server.now_s += 0.1
                run.pipe.submit(self.part(self.records(1)))

        run.on_settled = settled
        run.pipe.submit(self.part(self.records(1)))
        run.pipe.run()
        for window in range(5):
            begins_s = window * 33 + 25
            first_s = min(at_s for at_s in delivered_at_s if at_s >= begins_s)
            self.assertLess(first_s - begins_s, 1.0, f"window {window}")

    def test_the_pause_does_not_grow_with_the_outage(self) -> None:
        server = ScriptedServer(one_each)
        server.reachable = lambda now_s: now_s > 1000 + 3600
        run = ScriptedRun(server, names(set_prefix=""))

        def settled(part: Part) -> None:
            if part.results == [1]:
                run.pipe.quit()
            elif server.now_s < 1000 + 3600:
                server.now_s += 0.3
                run.pipe.submit(self.part(self.records(1)))
            else:
                waiting.append(part)

        def changed(state: Readiness) -> None:
            if state == Ready():
                run.pipe.submit(self.part(self.records(1)))

        waiting: list[Part] = []
        run.on_settled, run.on_changed = settled, changed
        run.pipe.submit(self.part(self.records(1)))
        run.pipe.run()
        self.assertLess(server.now_s - (1000 + 3600), 1.0)
        pauses = [later - earlier for earlier, later in zip(server.attempted_at_s, server.attempted_at_s[1:], strict=False)]
        self.assertLessEqual(max(pauses), 0.9)  # 0.3 s of it are the test's
        self.assertGreater(min(pauses), 0.01)
        states = [state for _, state in run.readiness]
        self.assertEqual(states[-1], Ready())
        self.assertIsInstance(states[0], NotReady)

    def test_a_server_that_closes_every_connection_at_once(self) -> None:
        """There is a pause between the connections."""
        server = ScriptedServer(one_each)
        server.closes_at_once = True
        run = ScriptedRun(server, names(set_prefix=""))

        def changed(_state: Readiness) -> None:
            if server.now_s > 1000 + 60:
                run.pipe.quit()

        run.on_changed = changed
        run.pipe.run()
        self.assertLess(len(server.connected_at_s), 60 / 0.25 + 10)

    def test_subscriptions_expire_by_the_wall_clock_and_all_else_is_monotonic(self) -> None:
        server = ScriptedServer(one_each)
        run = ScriptedRun(server, names())
        seen: list[bytes] = []
        server.answer = lambda command: seen.append(command[-1]) or one_each(command)  # type: ignore[func-returns-value]
        steps = iter((0, 86_400, -86_400))

        def settled(_part: Part) -> None:
            step = next(steps, None)
            if step is None:
                run.pipe.quit()
            else:
                server.epoch_now_s = 1_700_000_000.0 + step
                run.pipe.submit(self.part(self.records(1)))

        run.on_settled = settled
        run.pipe.submit(self.part(self.records(1)))
        run.pipe.run()
        ended = [text for text in seen if text.startswith(b"(")]
        self.assertEqual(ended, [b"(1700000000", b"(1700000000", b"(1700086400", b"(1699913600"])
        self.assertEqual(len(server.connected_at_s), 1)

    def test_quit_does_not_wait_for_a_name_server(self) -> None:
        """An attempt to connect cannot be interrupted: the pipe counts as closed at once."""
        server = ScriptedServer(one_each)
        run = ScriptedRun(server, names(set_prefix=""))
        part = self.part(self.records(1))

        def find() -> object:
            run.pipe.submit(part)
            run.pipe.quit()
            closed_meanwhile.append(run.is_closed)
            run.is_closed = False
            return server.find()

        closed_meanwhile: list[bool] = []
        run.pipe._connector = find  # type: ignore[assignment]  # a double's
        run.pipe.run()
        self.assertEqual(closed_meanwhile, [True])
        self.assertFalse(run.is_closed, "closed twice")
        self.assertIsInstance(part.results[0], NotConnected)
        self.assertEqual(len(server.connected_at_s), 1)

    def test_a_server_that_asks_for_authentication_again(self) -> None:
        """After NOAUTH there is a new connection, with the current content of the credential files."""
        server = ScriptedServer(lambda _command: b"-NOAUTH no\r\n")
        run = ScriptedRun(server, names(set_prefix=""))
        answers = iter((b"-NOAUTH no\r\n", ONE))
        server.answer = lambda _command: next(answers)

        def settled(part: Part) -> None:
            results.extend(part.results)
            if part.results == [1]:
                run.pipe.quit()
            else:
                run.pipe.submit(self.part(self.records(1)))

        results: list[Result] = []
        run.on_settled = settled
        run.pipe.submit(self.part(self.records(1)))
        run.pipe.run()
        self.assertEqual(([type(result) for result in results], len(server.connected_at_s)), ([LoggedOut, int], 2))
