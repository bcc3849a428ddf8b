"""A client that subscribes, and the messages that it received."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis


class Subscriber:
    """Subscribes at once, and again after each loss of the connection.

    :param client: of the server to subscribe at; closed with this.
    :ivar received: channel and payload, in order.
    """

    def __init__(self, client: Redis, *channels: str | bytes, patterns: Sequence[str] = ()) -> None:
        self.received: list[tuple[bytes, bytes]] = []
        self._client = client
        self._subscription = client.pubsub(ignore_subscribe_messages=False)
        self._expected = len(channels) + len(patterns)
        if channels:
            self._subscription.subscribe(*channels)
        if patterns:
            self._subscription.psubscribe(*patterns)
        self._confirmed = 0
        self.subscribed()

    def subscribed(self) -> None:
        """Wait until the server has the subscription; to be called again after a restart of the server."""
        deadline_s = time.monotonic() + DEADLINE_S
        self._confirmed = 0
        with suppress(RedisError):
            self._subscription.connection.disconnect()
        while self._confirmed < self._expected:
            assert time.monotonic() < deadline_s, "not subscribed in time"  # noqa: S101 a test's helper
            self.read(0.05)

    def read(self, timeout_s: float = 0.0) -> None:
        """Take the messages that have arrived."""
        try:
            while (message := self._subscription.get_message(timeout=timeout_s)) is not None:
                if message["type"] in ("message", "pmessage"):
                    self.received.append((message["channel"], message["data"]))
                else:
                    self._confirmed += 1
                timeout_s = 0.0
        except (RedisError, OSError):
            time.sleep(0.02)  # the server is away

    def wait_for(self, count: int, timeout_s: float = DEADLINE_S) -> list[tuple[bytes, bytes]]:
        """All messages, once there are ``count`` or the time is over."""
        deadline_s = time.monotonic() + timeout_s
        self.read()
        while len(self.received) < count and time.monotonic() < deadline_s:
            self.read(0.05)
        return self.received

    def close(self) -> None:
        """Close the connection."""
        self._subscription.close()
        self._client.close()
