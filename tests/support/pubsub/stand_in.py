"""The part of Pub/Sub that a publisher and a subscriber need: a gRPC server with the library's message types.

For machines without Google's emulator, and for faults that the emulator does not make. It keeps what was published while it
is away. As the service does, it refuses a request of several ordering keys.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any  # Any: protobuf classes that are made at run time

import grpc
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from tests.support.stub_server import StubServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Code = grpc.StatusCode

REQUEST_LIMIT_BYTES = 10_000_000
ATTRIBUTE_LIMIT_BYTES = 1024


class StandIn(StubServer):
    """Started by its constructor. ``hold`` and ``delay_s`` concern each Publish.

    :ivar refusals: status codes that refuse the next Publishes.
    :ivar look_refusal: a status code that refuses every GetTopic.
    :ivar messages_per_request: number of messages of each Publish so far.
    :ivar topics: messages by topic, in order of arrival.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[grpc.StatusCode] = []
        self.look_refusal: grpc.StatusCode | None = None
        self.messages_per_request: list[int] = []
        self.topics: dict[str, list[Any]] = {}
        self._subscriptions: dict[str, tuple[str, int]] = {}
        self._lock = Lock()
        self._server: Any = None  # grpc carries no types
        self.come_back()

    def go_away(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def come_back(self) -> None:
        """Listen again."""
        if self._server is not None:
            return
        options = (("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0))
        self._server = grpc.server(ThreadPoolExecutor(40), options=options)
        publisher: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
            "GetTopic": (self._get_topic, types.GetTopicRequest.pb()),
            "CreateTopic": (self._create_topic, types.Topic.pb()),
            "Publish": (self._publish, types.PublishRequest.pb()),
        }
        subscriber: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
            "CreateSubscription": (self._create_subscription, types.Subscription.pb()),
            "Pull": (self._pull, types.PullRequest.pb()),
            "Acknowledge": (lambda _request, _context: Empty(), types.AcknowledgeRequest.pb()),
            "ModifyAckDeadline": (lambda _request, _context: Empty(), types.ModifyAckDeadlineRequest.pb()),
        }
        for name, methods in (("Publisher", publisher), ("Subscriber", subscriber)):
            handlers = {
                method: grpc.unary_unary_rpc_method_handler(
                    behaviour,
                    request_deserializer=request.FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for method, (behaviour, request) in methods.items()
            }
            if name == "Subscriber":
                handlers["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
                    self._streaming_pull,
                    request_deserializer=types.StreamingPullRequest.pb().FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
            service = grpc.method_handlers_generic_handler(f"google.pubsub.v1.{name}", handlers)
            self._server.add_generic_rpc_handlers((service,))
        if not self._server.add_insecure_port(self.address):
            raise RuntimeError(f"{self.address} is taken")
        self._server.start()

    def _get_topic(self, request: Any, context: Any) -> Any:
        if self.look_refusal is not None:
            context.abort(self.look_refusal, "refused as the test asks")
        if request.topic not in self.topics:
            context.abort(_Code.NOT_FOUND, f"Resource not found (resource={request.topic.rpartition('/')[2]}).")
        return types.Topic.pb()(name=request.topic)

    def _create_topic(self, request: Any, context: Any) -> Any:
        if request.name in self.topics:
            context.abort(_Code.ALREADY_EXISTS, "Topic already exists")
        self.topics[request.name] = []
        return request

    def _publish(self, request: Any, context: Any) -> Any:
        self.wait()
        with self._lock:
            self.messages_per_request.append(len(request.messages))
            refusal = self.refusals.pop(0) if self.refusals else self._refusal(request)
            if refusal is not None:
                context.abort(refusal, "refused")
            log = self.topics[request.topic]
            first = len(log)
            log.extend(request.messages)
            return types.PublishResponse.pb()(message_ids=[str(first + place) for place in range(len(request.messages))])

    def _refusal(self, request: Any) -> grpc.StatusCode | None:
        if request.topic not in self.topics:
            return _Code.NOT_FOUND
        too_many = not 1 <= len(request.messages) <= 1000
        too_large = request.ByteSize() > REQUEST_LIMIT_BYTES
        several_keys = len({message.ordering_key for message in request.messages}) > 1
        bad = any(len(text.encode()) > ATTRIBUTE_LIMIT_BYTES for one in request.messages for text in one.attributes.values())
        return _Code.INVALID_ARGUMENT if too_many or too_large or several_keys or bad else None

    def _create_subscription(self, request: Any, context: Any) -> Any:
        if request.topic not in self.topics:
            context.abort(_Code.NOT_FOUND, "Subscription's topic does not exist")
        self._subscriptions[request.name] = (request.topic, len(self.topics[request.topic]))
        return request

    def _pull(self, request: Any, _context: Any) -> Any:
        return types.PullResponse.pb()(received_messages=self._received(request.subscription, request.max_messages))

    def _streaming_pull(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        subscription = next(requests).subscription
        while context.is_active():
            received = self._received(subscription, 1000)
            if received:
                yield types.StreamingPullResponse.pb()(received_messages=received)
            time.sleep(0.02)

    def _received(self, subscription: str, limit: int) -> list[Any]:
        with self._lock:
            topic, begin = self._subscriptions[subscription]
            messages = self.topics[topic][begin : begin + limit]
            self._subscriptions[subscription] = (topic, begin + len(messages))
        made = types.ReceivedMessage.pb()
        return [made(ack_id=str(begin + place), message=message) for place, message in enumerate(messages)]
