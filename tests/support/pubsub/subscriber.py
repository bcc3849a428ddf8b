"""A subscriber of several topics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any  # Any: protobuf classes that are made at run time

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterable


class Subscriber:
    """Subscribes to topics, which it creates where they are missing, and pulls messages.

    :param host: ``host:port`` of an emulator.
    :ivar messages: topic and ``PubsubMessage`` of everything pulled so far, in order within a topic.
    """

    def __init__(self, host: str, topics: Iterable[str], *, ordering: bool = False) -> None:
        self.messages: list[tuple[str, Any]] = []
        self._channel = grpc.insecure_channel(host, options=(("grpc.use_local_subchannel_pool", 1),))
        self._topics = tuple(topics)
        self._ordering = ordering
        self.subscribe()

    def subscribe(self) -> None:
        """Subscribe, for the first time or after a restart of the emulator."""
        for topic in self._topics:
            try:
                self._call("Publisher/CreateTopic", types.Topic.pb()(name=topic), types.Topic.pb())
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                    raise
            subscription = types.Subscription.pb()(
                name=_subscription(topic), topic=topic, enable_message_ordering=self._ordering
            )
            self._call("Subscriber/CreateSubscription", subscription, types.Subscription.pb())

    def pull(self, at_least: int, timeout_s: float = DEADLINE_S) -> list[tuple[str, Any]]:
        """All messages so far, once there are ``at_least`` or the time is over."""
        deadline_s = time.monotonic() + timeout_s
        self._pull_once()
        while len(self.messages) < at_least and time.monotonic() < deadline_s:
            time.sleep(0.02)
            self._pull_once()
        return self.messages

    def _pull_once(self) -> None:
        for topic in self._topics:
            name = _subscription(topic)
            # without return_immediately an empty subscription is waited for
            request = types.PullRequest.pb()(subscription=name, max_messages=1000, return_immediately=True)
            received = self._call("Subscriber/Pull", request, types.PullResponse.pb()).received_messages
            if received:
                self.messages += [(topic, one.message) for one in received]
                ack_ids = [one.ack_id for one in received]
                acknowledge = types.AcknowledgeRequest.pb()(subscription=name, ack_ids=ack_ids)
                self._call("Subscriber/Acknowledge", acknowledge, Empty)

    def _call(self, method: str, request: Any, response: Any) -> Any:
        call = self._channel.unary_unary(f"/google.pubsub.v1.{method}", type(request).SerializeToString, response.FromString)
        return call(request, timeout=DEADLINE_S, wait_for_ready=True)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def _subscription(topic: str) -> str:
    return topic.replace("/topics/", "/subscriptions/")
