"""The stages of records in a trace, by ack policy: each record is acked, or not acked for a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zope.interface import implementer

from fleetgw.domain.errors import Rejected, SpoolFull, StorageError, Unheard
from fleetgw.domain.ledger import Unacked
from fleetgw.domain.ports import RECEIPT, ITrace
from fleetgw.domain.record_stages import MAX_LISTED_IDS, RecordStages
from fleetgw.testing.sink_doubles import make_record
from tests.pipeline.test_spooling import SpoolingCase
from tests.support.session_case import SessionCase, answers, message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.app.pipeline.session import Session


@implementer(ITrace)
class Notes:
    """Keeps stages."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, Mapping[str, Any]]] = []

    def note(self, stage: str, text: str, **fields: object) -> None:
        """See ``ITrace``."""
        self.stages.append((stage, {"text": text} | fields))

    @property
    def names(self) -> list[str]:
        """The stages alone."""
        return [stage for stage, _ in self.stages]

    def unacked(self) -> dict[str, list[str]]:
        """The txids that are never acknowledged, by reason."""
        found: dict[str, list[str]] = {}
        for stage, fields in self.stages:
            if stage == "not_acked":
                found.setdefault(fields["reason"], []).extend(fields["txids"])
        return found


class LaneTests(SessionCase):
    def traced(self, policies: Mapping[str, str] | None = None, **how: Any) -> Session:
        """A session that is followed."""
        session = self.session(policies, **how)
        self.notes = session.trace = Notes()
        return session

    def test_what_one_sink_refuses(self) -> None:
        answers(self.traced({"V": "kafka"}), [message("V", b"1"), message("V", b"2")])
        self.dispatch()
        self.kafka.answer(Rejected("bad"))
        self.assertEqual(self.notes.unacked(), {"unconfirmed": ["1", "2"]})

    def test_what_a_condition_can_do_without_is_not_told(self) -> None:
        self.records = {"V": ["kafka", "logger"]}
        answers(self.traced({"V": "kafka or logger"}), [message("V", b"1")])
        self.dispatch()
        self.kafka.answer(Unheard("nobody"))
        self.assertEqual(self.notes.unacked(), {})
        self.logger.answer(Unheard("nobody"))
        self.assertEqual(self.notes.unacked(), {"unconfirmed": ["1"]})

    def test_a_confirmation_after_the_end(self) -> None:
        session = self.traced({"V": "kafka"})
        answers(session, [message("V", b"1")])
        self.dispatch()
        session.disconnected()
        self.kafka.answer(RECEIPT)
        self.assertEqual(self.notes.unacked(), {"disconnected": ["1"]})

    def test_what_waits_at_the_end(self) -> None:
        self.room["kafka"] = 1
        session = self.traced()
        answers(session, [message("V", b"1"), message("V", b"2"), message("alerts", b"3")])
        self.assertEqual(self.notes.names, ["received", "placed", "waiting", "received", "waiting"])
        session.disconnected()
        self.assertEqual(self.notes.unacked(), {"disconnected": ["2", "3"]})
        self.dispatch()
        self.kafka.answer()

    def test_a_record_that_no_queue_can_hold(self) -> None:
        session = self.traced(max_message_bytes=3_000_000)
        answers(session, [message("custom", b"1", payload=bytes(2_000_000)), message("custom", b"2")])
        self.assertEqual(self.notes.unacked(), {"full": ["1"]})
        self.assertEqual(self.notes.names, ["received", "placed", "not_acked"])

    def test_an_unrouted_record_and_one_of_another_sender(self) -> None:
        session = self.traced()
        answers(session, [message("unknown", b"1"), message("unknown", b"2", sender_id="somebody")])
        (received, placed, refused) = [fields for _, fields in self.notes.stages]
        self.assertIn("no sink", received["text"])
        self.assertEqual((placed["txids"], refused["txids"]), (["1"], ["2"]))
        self.assertEqual(refused["error"], "OtherSender")


class SpoolTests(SpoolingCase):
    def traced(self, policy: str) -> Session:
        """A session that is followed."""
        session = self.session({"V": policy})
        self.notes = session.trace = Notes()
        return session

    def test_a_sync(self) -> None:
        answers(self.traced("spooled"), [message("V", b"1")])
        self.assertEqual(self.notes.names, ["received", "placed"])
        self.assertIn("the spool", self.notes.stages[0][1]["text"])

    def test_a_sync_that_fails(self) -> None:
        answers(self.traced("spooled"), [message("V", b"1"), message("V", b"2")])
        self.disk.sync(StorageError("the disk fails"))
        self.assertEqual(self.notes.unacked(), {"not_stored": ["1", "2"]})

    def test_a_spool_that_is_full(self) -> None:
        self.disk.refusal = SpoolFull("full")
        answers(self.traced("spooled"), [message("V", b"1")])
        self.assertEqual(self.notes.unacked(), {"full": ["1"]})
        self.assertIn("every queue", self.notes.stages[-1][1]["text"], "the sinks get it nevertheless")

    def test_a_condition_with_the_spool(self) -> None:
        self.disk.refusal = SpoolFull("full")
        answers(self.traced("spooled and kafka"), [message("V", b"1")])
        self.assertEqual(self.notes.unacked(), {"full": ["1"]})
        self.deliver_all()

    def test_neither_the_spool_nor_a_queue_has_room(self) -> None:
        self.spools_all = True
        self.room = {"kafka": 1, "redis": 1000}
        self.disk.refusal = SpoolFull("full")
        answers(self.traced("accepted"), [message("V", b"1"), message("V", b"2")])
        self.assertEqual(self.notes.unacked(), {"full": ["2"]})
        self.deliver_all()

    def test_a_condition_that_cannot_hold_while_a_sink_is_behind(self) -> None:
        self.spools_all = True
        self.room = {"kafka": 1, "redis": 1000}
        session = self.traced("kafka")
        answers(session, [message("V", b"1"), message("V", b"2")])
        self.assertEqual(self.notes.unacked(), {"full": ["2"]})
        answers(session, [message("V", b"3")])
        self.assertEqual(self.notes.unacked(), {"full": ["2", "3"]})


class WordsTests(SessionCase):
    def test_every_reason_has_words(self) -> None:
        notes = Notes()
        for reason in Unacked:
            RecordStages(notes).unacked([make_record(txid="t")], reason)
        self.assertEqual([fields["reason"] for _, fields in notes.stages], [*Unacked])

    def test_ids_are_bounded(self) -> None:
        notes = Notes()
        records = [make_record(txid=str(number)) for number in range(100)]
        stages = RecordStages(notes)
        stages.acked(records, is_open=True)
        stages.acked(records, is_open=False)
        for name, fields in notes.stages:
            self.assertEqual((len(fields["txids"]), fields["records"]), (MAX_LISTED_IDS, 100), name)
        self.assertEqual(notes.names, ["acked", "not_acked"])
        self.assertEqual(notes.stages[1][1]["reason"], "closing")
