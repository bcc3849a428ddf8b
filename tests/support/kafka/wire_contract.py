"""Test of the records that a consumer receives against a file of golden vectors."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import RECEIPT
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.deadline import DEADLINE_S
from tests.support.kafka.consumer import consume
from tests.support.record_vectors import RECEIVED_AT_MS, dispatch_cases, record_of

if TYPE_CHECKING:
    from pathlib import Path
    from unittest import TestCase

    from fleetgw.domain.records import Record
    from tests.support.kafka.consumer import Consumed
    from tests.support.kafka.harness import KafkaHarness
else:
    TestCase = object  # a mixin: the contract alone is no test


@frozen
class WireCase:
    """One record, and the message that a consumer must receive for it.

    :ivar value: the exact bytes, or None where ``json_value`` has their meaning.
    :ivar json_value: the parsed value of a record written as JSON.
    """

    name: str
    namespace: str
    record: Record
    key: bytes
    value: bytes | None
    json_value: Any  # any JSON
    headers: tuple[tuple[str, bytes], ...]

    @property
    def topic(self) -> str:
        """Where the record goes."""
        return f"{self.namespace}_{self.record.record_type}"

    def differences(self, consumed: Consumed, not_before_ms: int, not_after_ms: int) -> list[str]:
        """Differences from the expected message; empty when there are none.

        :param not_before_ms: the record's timestamp lies between this and ``not_after_ms``.
        """
        found = []
        if consumed.key != self.key:
            found.append(f"key {consumed.key!r}, not {self.key!r}")
        if self.value is not None and consumed.value != self.value:
            found.append(f"value {consumed.value.hex()}, not {self.value.hex()}")
        if self.value is None and json.loads(consumed.value) != self.json_value:
            found.append(f"value {consumed.value!r}, not {self.json_value!r}")
        if tuple(sorted(consumed.headers)) != self.headers:
            found.append(f"headers {consumed.headers}, not {self.headers}")
        if not not_before_ms <= consumed.timestamp_ms <= not_after_ms:
            found.append(f"timestamp {consumed.timestamp_ms}, not between {not_before_ms} and {not_after_ms}")
        return found


def kafka_cases(vectors: Path) -> list[WireCase]:
    """The Kafka cases of ``dispatch.json`` as the gateway sends them.

    The Go server writes ``{}`` for a custom type where records leave decoded; the gateway sends the bytes it got.
    """
    return [_case(case) for case in dispatch_cases(vectors, "kafka")]


def _case(case: dict[str, Any]) -> WireCase:
    headers = case["headers_sorted"]
    own = case["type"] == "my_type"
    as_json = "value_json" in case and not own
    return WireCase(
        name=case["name"],
        namespace=case["namespace"],
        record=record_of(case),
        key=bytes.fromhex(case["key"]),
        value=None if as_json else bytes.fromhex(case["payload" if own else "value"]),
        json_value=json.loads(case["value_json"]) if as_json else None,
        headers=tuple(sorted((name, text.replace("<epoch_ms>", str(RECEIVED_AT_MS)).encode()) for name, text in headers)),
    )


class KafkaWireContract(TestCase):
    """Mix into a ``twisted.trial.unittest.TestCase``; give ``make_harness`` and ``vectors``.

    :cvar vectors: the file ``dispatch.json``.
    """

    timeout = DEADLINE_S  # seconds for each test, read by Trial

    vectors: Path

    def make_harness(self) -> KafkaHarness:
        """A fresh harness for one test."""
        raise NotImplementedError

    def test_messages_of_the_vectors(self) -> Deferred[None]:
        """Topic, key, value, headers and timestamp of every Kafka case of the vectors."""
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> None:
        harness = self.make_harness()
        await harness.set_up()
        try:
            cases = kafka_cases(self.vectors)
            started_at_ms = int(time.time() * 1000)
            for namespace in {case.namespace for case in cases}:
                await self._send(harness, namespace, [case for case in cases if case.namespace == namespace])
            ended_at_ms = int(time.time() * 1000)
            consumed = consume(harness.servers, sorted({case.topic for case in cases}), len(cases))
        finally:
            await harness.tear_down()
        problems = []
        consumed.sort(key=lambda one: one.timestamp_ms)
        # The last of a key's records on a topic: the broker may have those of another run.
        for case in reversed(cases):
            latest = next((one for one in reversed(consumed) if (one.topic, one.key) == (case.topic, case.key)), None)
            if latest is None:
                problems.append(f"{case.name}: nothing with the key {case.key!r} on {case.topic}")
            else:
                consumed.remove(latest)
                problems += [f"{case.name}: {what}" for what in case.differences(latest, started_at_ms, ended_at_ms)]
        self.assertEqual(problems, [])

    async def _send(self, harness: KafkaHarness, namespace: str, cases: list[WireCase]) -> None:
        types = tuple({case.record.record_type for case in cases})
        settings = harness.settings(timeout_s=30, bounded=False)
        sink = harness.make_sink(
            SinkContext("kafka", settings, namespace, types, harness.reactor, ReadableMetrics(), ReadableLog())
        )
        await sink.start()
        try:
            self.assertEqual(list(await sink.dispatch([case.record for case in cases])), [RECEIPT] * len(cases))
        finally:
            await sink.stop()
