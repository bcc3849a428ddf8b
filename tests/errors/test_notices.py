"""The queue of errors, and their notices."""

import gc
import json
from threading import Thread
from typing import Any
from unittest import TestCase

from fleetgw.adapters.errors.notice import MAX_BODY_BYTES, NoticeWriter, reportable
from fleetgw.adapters.errors.queue import ErrorQueue, PendingError
from tests.support.deadline import DEADLINE_S


def notice(event: str, count: int = 1, **fields: object) -> Any:
    return json.loads(NoticeWriter("staging").write(PendingError(event, reportable(fields), count)))


class NoticeTests(TestCase):
    def test_fields_of_the_api(self) -> None:
        written = notice("kafka_err", 3, error="broker away", kind="_TRANSPORT", more_unwritten=2)
        self.assertEqual(written["errors"], [{"type": "kafka_err", "message": "kafka_err", "backtrace": []}])
        self.assertEqual(
            written["params"],
            {"log_type": "error", "count": 3, "error": "broker away", "kind": "_TRANSPORT", "more_unwritten": 2},
        )
        context = written["context"]
        self.assertEqual((context["environment"], context["severity"]), ("staging", "error"))
        self.assertEqual(context["notifier"]["name"], "fleetgw")
        for name in ("version", "hostname", "os", "language"):
            self.assertTrue(context[name], name)

    def test_no_password_and_no_payload_leaves(self) -> None:
        text = json.dumps(notice("dead_letter", error="https://user:hunter2@host/ failed", payload_base64="c2VjcmV0"))
        self.assertNotIn("hunter2", text)
        self.assertNotIn("c2VjcmV0", text)

    def test_any_field_is_written_within_the_servers_limit(self) -> None:
        large = {f"field{number}": "x" * 20_000 for number in range(20)}
        body = NoticeWriter("").write(PendingError("e", reportable({"error": "why", **large, "odd": object()})))
        self.assertLess(len(body), MAX_BODY_BYTES)
        self.assertEqual(json.loads(body)["params"], {"log_type": "error", "error": "why", "count": 1})


class Unprintable:
    """A value that cannot be shown as text."""

    def __str__(self) -> str:
        raise ValueError

    __repr__ = __str__


class QueueTests(TestCase):
    def test_fields_of_any_kind_can_be_added_and_written(self) -> None:
        queue = ErrorQueue()
        queue.add(PendingError("e", reportable({"kind": Unprintable(), "other": Unprintable()})))
        (error,) = queue.take_all()
        self.assertEqual(json.loads(NoticeWriter("").write(error))["params"]["count"], 1)

    def test_an_error_reported_by_a_finalizer_during_a_call_does_not_deadlock(self) -> None:
        queue = ErrorQueue()

        class Finalized:
            def __del__(self) -> None:
                queue.add(PendingError("of the finalizer", {}))

        def replace_the_only_reference() -> None:
            queue.add(PendingError("e", {"error": Finalized()}))
            gc.collect()
            queue.add(PendingError("e", {"error": "second"}))

        thread = Thread(target=replace_the_only_reference, daemon=True)
        thread.start()
        thread.join(DEADLINE_S)
        self.assertFalse(thread.is_alive(), "deadlock")
        self.assertEqual([each.event for each in queue.take_all()], ["e", "of the finalizer"])

    def test_like_errors_are_one_with_a_count(self) -> None:
        queue = ErrorQueue()
        self.assertTrue(queue.add(PendingError("e", {"kind": "a", "error": "first"})))
        self.assertFalse(queue.add(PendingError("e", {"kind": "b"})))
        self.assertFalse(queue.add(PendingError("e", {"kind": "a", "error": "second"})))
        self.assertEqual(
            queue.take_all(),
            [PendingError("e", {"kind": "a", "error": "second"}, 2), PendingError("e", {"kind": "b"}, 1)],
        )
        self.assertEqual(queue.take_all(), [])

    def test_each_grouping_field_tells_errors_apart(self) -> None:
        queue = ErrorQueue()
        for name in ("kind", "dispatcher", "key"):
            for value in ("a", "b"):
                queue.add(PendingError("e", {name: value}))
        self.assertEqual([each.count for each in queue.take_all()], [1] * 6)

    def test_a_full_queue_drops_and_counts(self) -> None:
        queue = ErrorQueue(capacity=2)
        for event in ("a", "b", "c", "d", "a"):
            queue.add(PendingError(event, {}))
        self.assertEqual([(each.event, each.count) for each in queue.take_all()], [("a", 2), ("b", 1)])
        self.assertEqual((queue.take_dropped(), queue.take_dropped()), (2, 0))

    def test_errors_that_are_put_back_come_first_and_join_like_ones(self) -> None:
        queue = ErrorQueue(capacity=2)
        queue.add(PendingError("a", {"error": "old"}))
        queue.add(PendingError("b", {}))
        taken = queue.take_all()
        queue.add(PendingError("c", {}))
        queue.add(PendingError("a", {"error": "new"}))
        queue.put_back(taken)
        self.assertEqual(queue.take_all(), [PendingError("a", {"error": "new"}, 2), PendingError("b", {}, 1)])
        self.assertEqual(queue.take_dropped(), 1)
