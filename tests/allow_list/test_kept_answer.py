"""The allow list's last answer over a restart of the gateway."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.allow_list.kept_answer import Answer, KeptAnswer
from fleetgw.adapters.allow_list.watch import START_S, AllowListWatch
from fleetgw.app.service.allow_list_maker import KEPT_ANSWER
from fleetgw.domain.allow_list import ALLOWED, NOT_LISTED, AllowList, NoList
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor
from tests.support.allow_list_contract import FIRST, SECOND
from tests.support.allow_list_source import ScriptedSource
from tests.support.gateway_in_memory import VIN, GatewayCase

STALE_S = 100.0


class KeptAnswerCase(SynchronousTestCase):
    def setUp(self) -> None:
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "allow-list" / "last-answer.json"
        self.now_s = 1_700_000_000.0

    def kept(self, source: str = "the source") -> KeptAnswer:
        return KeptAnswer(self.path, source, lambda: self.now_s)


class KeptAnswerTests(KeptAnswerCase):
    def test_nothing_is_kept_at_first(self) -> None:
        self.assertIsNone(self.kept().load())

    def test_an_answer_survives(self) -> None:
        self.kept().keep(frozenset([FIRST, SECOND]))
        self.now_s += 30
        self.assertEqual(self.kept().load(), Answer(frozenset([FIRST, SECOND]), 30))
        self.kept().keep(frozenset())
        self.assertEqual(self.kept().load(), Answer(frozenset(), 0))

    def test_an_unchanged_list_is_not_written_again(self) -> None:
        kept, vehicles = self.kept(), frozenset([FIRST])
        kept.keep(vehicles)
        inode = self.path.stat().st_ino
        self.now_s += 30
        kept.keep(vehicles)
        self.assertEqual((self.path.stat().st_ino, self.path.stat().st_mtime), (inode, self.now_s))

    def test_a_file_that_was_removed_is_written_again(self) -> None:
        kept, vehicles = self.kept(), frozenset([FIRST])
        kept.keep(vehicles)
        self.path.unlink()
        self.assertRaises(UnusableAllowList, kept.keep, vehicles)
        kept.keep(vehicles)
        self.assertEqual(self.kept().load(), Answer(vehicles, 0))

    def test_the_file_is_for_its_owner_alone(self) -> None:
        self.kept().keep(frozenset([FIRST]))
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_an_answer_of_another_source_counts_for_nothing(self) -> None:
        self.kept("another source").keep(frozenset([FIRST]))
        self.assertIsNone(self.kept().load())

    def test_a_clock_that_was_set_back(self) -> None:
        self.kept().keep(frozenset([FIRST]))
        self.now_s -= 1000
        self.assertEqual(self.kept().load(), Answer(frozenset([FIRST]), 0))

    def test_garbage_is_named(self) -> None:
        self.path.parent.mkdir()
        for content in (
            b"",
            b'{"source": "the source", "vins": ["A',
            b"[]",
            b'{"source": "the source", "vins": [""]}',
            b"\xff",
        ):
            self.path.write_bytes(content)
            self.assertRaises(UnusableAllowList, self.kept().load)
        self.path.unlink()
        self.path.mkdir()
        self.assertIn("directory", str(self.assertRaises(UnusableAllowList, self.kept().load)))
        self.assertIn("directory", str(self.assertRaises(UnusableAllowList, self.kept().keep, frozenset([FIRST]))))


class RestartTests(KeptAnswerCase):
    """Gateways that run one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor, self.log = ThreadlessReactor(), ReadableLog()

    def start(self) -> AllowListWatch:
        """Start the next gateway, as far as the first reading, which has no answer yet."""
        self.source = ScriptedSource()
        watch = AllowListWatch(self.source, AllowList(STALE_S), self.reactor, self.log, ReadableMetrics(), self.kept())
        self.started = watch.start()
        self.reactor.advance(0)
        return watch

    def pass_by(self, seconds: float) -> None:
        self.now_s += seconds
        self.reactor.advance(seconds)

    def answer(self, *vehicles: str) -> None:
        self.source.readings[-1].callback(frozenset(vehicles))
        self.reactor.advance(0)

    def source_fails(self) -> str:
        """The source fails; returns the effect that the log tells."""
        self.source.readings[-1].errback(UnusableAllowList("is away"))
        return str(self.log.fields_of("allow_list_not_read")[-1]["effect"])

    def restart_after(self, seconds: float, *vehicles: str) -> AllowListWatch:
        """Run a gateway whose source answers, and start another one some seconds after the answer."""
        watch = self.start()
        self.answer(*vehicles)
        watch.stop()
        self.pass_by(seconds)
        return self.start()

    def decide(self, watch: AllowListWatch, vehicle: str = FIRST) -> object:
        return watch.allow_list.decide(vehicle, self.reactor.seconds())

    def test_the_last_answer_decides_while_the_source_is_away(self) -> None:
        watch = self.restart_after(40, FIRST)
        self.assertEqual((self.decide(watch), self.decide(watch, SECOND)), (ALLOWED, NOT_LISTED))
        effect = self.source_fails()
        self.successResultOf(self.started)
        self.assertEqual(effect, "its last answer, of before the start, stays in use for 60 s")
        self.pass_by(59)
        self.assertEqual(self.decide(watch), ALLOWED)
        self.pass_by(1)
        self.assertIsInstance(self.decide(watch), NoList)

    def test_an_answer_that_is_too_old_decides_nothing(self) -> None:
        watch = self.restart_after(STALE_S, FIRST)
        self.assertIsInstance(self.decide(watch), NoList)
        self.assertIn("of before the start, is too old: no vehicle", self.source_fails())

    def test_the_source_takes_over(self) -> None:
        watch = self.restart_after(40, FIRST)
        self.answer(SECOND)
        self.assertEqual((self.decide(watch), self.decide(watch, SECOND)), (NOT_LISTED, ALLOWED))
        self.pass_by(self.source.interval_s)
        self.assertEqual(self.source_fails(), "its last answer stays in use for 70 s")

    def test_the_first_answer_is_told_also_without_a_change(self) -> None:
        self.restart_after(40, FIRST)
        self.answer(FIRST)
        told = self.log.fields_of("allow_list_read")[-1]
        self.assertEqual((len(self.log.fields_of("allow_list_read")), told["added"], told["removed"]), (2, 0, 0))

    def test_an_unchanged_answer_renews_the_kept_one(self) -> None:
        watch = self.start()
        self.answer(FIRST)
        for _ in range(10):
            self.pass_by(self.source.interval_s)
            self.source.readings[-1].callback(None)
            self.reactor.advance(0)
        watch.stop()
        self.pass_by(40)
        self.assertEqual(self.decide(self.start()), ALLOWED)

    def test_damage_is_told_and_the_source_decides(self) -> None:
        self.path.parent.mkdir()
        self.path.write_text("[")
        watch = self.start()
        self.assertIsInstance(self.decide(watch), NoList)
        (told,) = self.log.fields_of("allow_list_not_kept")
        self.assertEqual(told["path"], str(self.path))
        self.answer(FIRST)
        self.assertEqual(self.decide(watch), ALLOWED)
        self.assertEqual(self.kept().load(), Answer(frozenset([FIRST]), 0))

    def test_a_disk_that_takes_nothing_is_told_once(self) -> None:
        self.path.with_suffix(".new").mkdir(parents=True)
        watch = self.start()
        for _ in range(3):
            self.answer(FIRST)
            self.pass_by(self.source.interval_s)
        self.assertEqual(len(self.log.fields_of("allow_list_not_kept")), 1)
        self.assertEqual(self.decide(watch), ALLOWED)
        self.path.with_suffix(".new").rmdir()
        self.answer(FIRST)
        self.assertIsNotNone(self.kept().load())
        self.path.with_suffix(".new").mkdir()
        self.pass_by(self.source.interval_s)
        self.answer(SECOND)
        self.assertEqual(len(self.log.fields_of("allow_list_not_kept")), 2, "a new failure is told again")

    def test_the_start_does_not_wait_for_a_source_that_hangs(self) -> None:
        watch = self.restart_after(40, FIRST)
        self.pass_by(START_S)
        self.successResultOf(self.started)
        (told,) = self.log.fields_of("allow_list_not_read")
        self.assertEqual(
            (told["error"], told["effect"]),
            ("has not answered within 15 s", "its last answer, of before the start, stays in use for 45 s"),
        )
        self.answer(SECOND)
        self.assertEqual(self.decide(watch), NOT_LISTED)


class GatewayTests(GatewayCase):
    def setUp(self) -> None:
        super().setUp()
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def kept(self, url: str) -> KeptAnswer:
        gateway = self.start(vehicles={"allow": {"url": url}}, operations={"folder": self.folder})
        watch = gateway.parts.allow_list
        assert watch is not None
        assert watch.kept is not None
        return watch.kept

    def test_the_answer_is_kept_in_the_folder_of_operations(self) -> None:
        self.kept("http://127.0.0.1:1/vins").keep(frozenset([VIN]))
        self.assertTrue((Path(self.folder) / KEPT_ANSWER).exists())

    def test_sources_that_differ_in_a_secret_alone_are_two(self) -> None:
        sources = {self.kept(f"http://127.0.0.1:1/vins?token={fleet}").source for fleet in ("fleet-of-a", "fleet-of-b")}
        self.assertEqual(len(sources), 2)
        self.assertNotIn("fleet-of", "".join(sources))
