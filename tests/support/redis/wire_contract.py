"""Golden vectors of the commands that Redis receives for a record, as a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import ConfigurationError, Unheard
from fleetgw.domain.ports import Receipt
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics
from tests.support.deadline import DEADLINE_S
from tests.support.record_vectors import dispatch_cases, record_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from unittest import TestCase

    from tests.support.redis.harness import RedisHarness
else:
    TestCase = object  # a mixin: the contract alone is no test

Case = dict[str, Any]  # Any: as in the file
Published = list[tuple[bytes, bytes]]


class RedisWireContract(TestCase):
    """To be mixed into a ``twisted.trial.unittest.TestCase``, which gives the other methods.

    :cvar vectors: the file ``dispatch.json``; ``redis_differences.json`` beside it lists the intended differences.
    """

    timeout = DEADLINE_S  # seconds for each test, read by Trial

    vectors: Path

    def make_wire_harness(self) -> RedisHarness:
        """A fresh harness for one case; its destination has a client that subscribes to every channel."""
        raise NotImplementedError

    def enter_members(self, harness: RedisHarness, key: bytes, expires_in_s: Mapping[bytes, float]) -> None:
        """Make a sorted set, from member to seconds until it expires."""
        raise NotImplementedError

    def published(self, harness: RedisHarness, at_least: int) -> Published:
        """Channel and payload of everything published, in order."""
        raise NotImplementedError

    def members(self, harness: RedisHarness, key: bytes) -> set[bytes]:
        """Members of a sorted set."""
        raise NotImplementedError

    def test_messages_of_the_vectors(self) -> Deferred[None]:
        """Channels, payloads, their order, and the remaining subscribers, of every Redis case of the vectors."""
        return Deferred.fromCoroutine(self._check())

    async def _check(self) -> None:
        cases = dispatch_cases(self.vectors, "redis")
        self.assertGreater(len(cases), 10)
        problems = []
        self.assertLessEqual(self._unheard(), {case["name"] for case in cases}, "differences in unknown cases")
        for case in cases:
            harness = self.make_wire_harness()
            await harness.set_up()
            try:
                problems += [f"{case['name']}: {problem}" for problem in await self._problems(harness, case)]
            finally:
                await harness.tear_down()
        self.assertEqual(problems, [])

    def _unheard(self) -> set[str]:
        differences = json.loads(self.vectors.with_name("redis_differences.json").read_text())["cases"]
        return {case["name"] for case in differences}

    async def _problems(self, harness: RedisHarness, case: Case) -> list[str]:
        settings = {
            **harness.settings(timeout_s=10, bounded=False),
            "publish_vin_topics": case["publish_vin_topics"],
            "subscriber_set_prefix": case["subscriber_set_prefix"],
        }
        log = ReadableLog()
        context = SinkContext("redis", settings, case["namespace"], (case["type"],), harness.reactor, ReadableMetrics(), log)
        key = case.get("set_key", "").encode()
        self.enter_members(harness, key, {each["member"].encode(): each["expires_in_s"] for each in case["members"]})
        try:
            sink = harness.make_sink(context)
        except ConfigurationError:
            return [] if case["go"] == "error" else ["refused"]
        await harness.until(sink.start())
        (outcome,) = await harness.until(sink.dispatch([record_of(case)]))
        await harness.until(sink.stop())
        unheard = case["name"] in self._unheard()
        problems = [] if isinstance(outcome, Unheard if unheard else Receipt) else [f"{outcome!r}"]
        published = self.published(harness, len(case["published"]))
        channels = [each["channel"].encode() for each in case["published"]]
        if [channel for channel, _ in published] != channels:
            problems.append(f"published to {[channel for channel, _ in published]}, not to {channels}")
        for (_, payload), expected in zip(published, case["published"], strict=False):
            if "payload_json" in expected and json.loads(payload) != json.loads(expected["payload_json"]):
                problems.append(f"published {payload!r}, not {expected['payload_json']}")
            if "payload" in expected and payload.hex() != expected["payload"]:
                problems.append(f"published {payload.hex()}, not {expected['payload']}")
        members = {member.encode() for member in case["members_after"]}
        if self.members(harness, key) != members:
            problems.append(f"left {self.members(harness, key)} in the set, not {members}")
        events = [event for _, event, _ in log.entries if event != "sink_ready"]  # the Go server has no such event
        if events != case["log_events"]:
            problems.append(f"logged {events}, not {case['log_events']}")
        return problems
