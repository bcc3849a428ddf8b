"""The commands of the control sockets: requests, refusals, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.control.server import CommandError
from fleetgw.adapters.dead_letters.letters import SpooledDeadLetters
from fleetgw.adapters.spool.memory import MemorySpool
from fleetgw.adapters.spool.reading import EVERY_TYPE
from fleetgw.app.service.dead_letter_commands import DeadLetterCommands
from fleetgw.app.service.spool_commands import SpoolCommands
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT, Page
from tests.support.lane_case import LIMITS, LaneCase
from tests.support.spool_case import spooled_record

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    Command = Callable[[Mapping[str, object], Callable[[object], None]], Coroutine[Any, Any, object]]


class CommandCase(LaneCase, SynchronousTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.progress: list[object] = []

    def begin(self, command: Command, **request: object) -> Deferred[object]:
        done = Deferred.fromCoroutine(command(request, self.progress.append))
        self.linger()
        return done

    def result(self, command: Command, **request: object) -> object:
        return self.successResultOf(self.begin(command, **request))

    def refusal(self, command: Command, **request: object) -> str:
        return str(self.failureResultOf(self.begin(command, **request), CommandError).value)


class DeadLetterCommandTests(CommandCase):
    def setUp(self) -> None:
        self.spools = {sink: MemorySpool(Clock(), 1_000_000) for sink in ("scripted", "former")}
        self.now_ms = 1000
        self.letters = {
            sink: SpooledDeadLetters(sink, spool, lambda: None, self.save, lambda: self.now_ms)
            for sink, spool in self.spools.items()
        }
        for sink, spool in self.spools.items():
            spool.start({sink: EVERY_TYPE})
        self.dead_letters = self.letters["scripted"]
        super().setUp()
        self.lanes = {"scripted": self.lane}
        self.commands = DeadLetterCommands(self.letters, lambda: self.lanes)

    async def save(self, _removed: Sequence[range]) -> None:
        """Nothing outlives the test."""

    def store(self, sink: str, count: int) -> None:
        for number in range(count):
            self.letters[sink].store(spooled_record(number), "too large")

    def left(self, sink: str) -> Sequence[int]:
        page = self.successResultOf(self.letters[sink].read(1, 1000, 10**9))
        assert isinstance(page, Page)
        return [*page.positions]

    def test_a_redrive_of_all_leaves_sinks_out_that_have_no_route(self) -> None:
        self.store("scripted", 2)
        self.store("former", 1)
        done = self.begin(self.commands.redrive, letters=None)
        self.sink.answer(0, RECEIPT)
        report = {"scripted": {"offered": 2, "delivered": 2, "refused_again": 0, "kept": 0}}
        self.assertEqual(self.successResultOf(done), report)
        self.assertEqual(self.progress, [report])
        self.assertEqual((self.left("scripted"), self.left("former")), ([], [1]))

    def test_a_redrive_that_cannot_be_says_what_to_do_and_does_nothing(self) -> None:
        self.store("scripted", 1)
        self.store("former", 1)
        for letters, expected in (
            ({"former": None}, "no records are routed to former: route a record type to it, or purge its letters"),
            ({"scripted": None, "formre": None}, 'there are no dead letters of a sink "formre"; did you mean "former"?'),
            ("scripted", "letters must be an object"),
        ):
            self.assertEqual(self.refusal(self.commands.redrive, letters=letters), expected)
        self.assertEqual(self.sink.batches, [])

    def test_one_redrive_of_a_sink_at_a_time(self) -> None:
        self.store("scripted", 1)
        first = self.begin(self.commands.redrive, letters={"scripted": None})
        self.assertIn("are being redriven", self.refusal(self.commands.redrive, letters={"scripted": [1]}))
        self.sink.answer(0, RECEIPT)
        self.successResultOf(first)
        self.result(self.commands.redrive, letters={"scripted": None})

    def test_a_new_lane_of_the_sink_is_used(self) -> None:
        self.store("scripted", 1)
        done = self.begin(self.commands.redrive, letters=None)
        self.sink.answer(0, Rejected("no"))
        self.successResultOf(done)
        self.lanes["scripted"] = lane = self.make(LIMITS)
        self.begin(self.commands.redrive, letters=None)
        self.assertEqual(lane.held_records, 1)

    def test_a_purge_by_position_and_by_age(self) -> None:
        self.store("scripted", 2)
        self.now_ms = 2000
        self.store("scripted", 2)
        self.store("former", 1)
        self.assertEqual(self.result(self.commands.purge, letters={"scripted": [4, 99]}), {"scripted": 1})
        self.assertEqual(self.left("scripted"), [1, 2, 3])
        self.assertEqual(self.result(self.commands.purge, letters=None, before_ms=2000), {"scripted": 2, "former": 0})
        self.assertEqual((self.left("scripted"), self.left("former")), ([3], [1]))
        self.assertEqual(self.result(self.commands.purge, letters=None), {"scripted": 1, "former": 1})
        self.assertEqual(self.spools["scripted"].state().size_bytes, 0)

    def test_a_purge_that_cannot_be(self) -> None:
        self.store("scripted", 1)
        self.assertEqual(self.refusal(self.commands.purge, letters=None, before_ms="1"), "before_ms must be a number")
        self.spools["scripted"].stop()
        self.assertIn("scripted: ", self.refusal(self.commands.purge, letters={"scripted": [1]}))


class SpoolCommandTests(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        self.spool = MemorySpool(Clock(), 1_000_000)
        self.spool.start({"scripted": ("custom",), "away": ("custom",)})
        self.spool.append([spooled_record(number) for number in range(4)])
        self.spool.settle("scripted", 4)
        self.commands = SpoolCommands(self.spool, lambda: {"scripted": self.lane})

    def replay(self, **changes: object) -> Deferred[object]:
        return self.begin(self.commands.replay, **{"sink": None, "since_ms": 1, "position": 1} | changes)

    def test_the_state(self) -> None:
        state: Any = self.result(self.commands.state)  # JSON
        self.assertEqual((state["next_position"], state["failure"]), (5, None))
        self.assertEqual(state["cursors"], {"scripted": 4, "away": 1})

    def test_a_replay(self) -> None:
        done = self.replay()
        self.assertEqual([sorted(txids) for txids in self.sink.txids], [["tx-1", "tx-2"]])
        for number in range(len(self.sink.batches)):
            self.sink.answer(number, RECEIPT)
        self.assertEqual(self.successResultOf(done), {"scripted": {"offered": 2, "settled": 2}})
        self.assertEqual(self.progress, [{"scripted": {"offered": 2, "settled": 2}}])

    def test_replays_that_cannot_be(self) -> None:
        refusals = [
            str(self.failureResultOf(self.replay(**changes), CommandError).value)
            for changes in ({"sink": "scriptde"}, {"since_ms": None}, {"position": "1"})
        ]
        self.assertEqual(refusals[0], 'no spooled records go to a sink "scriptde"; did you mean "scripted"?')
        self.assertEqual(refusals[1:], ["a replay needs a sink, since_ms and a position"] * 2)

    def test_one_replay_to_a_sink_at_a_time(self) -> None:
        self.replay()
        self.assertIn("are being replayed", str(self.failureResultOf(self.replay(), CommandError).value))
