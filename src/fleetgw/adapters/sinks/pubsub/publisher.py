"""Calls to Pub/Sub, and the outcomes that its answers and errors mean.

Requests consist of the library's message types and go out over a gRPC channel. The library's own publisher client would put
each record through a queue, a thread and a future of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import google.auth
import google.auth.transport.grpc
import google.auth.transport.requests
import grpc
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.types import GetTopicRequest, PublishRequest, PublishResponse, PubsubMessage, Topic

from fleetgw.adapters.sinks.support.request_errors import (
    BatchRejected,
    Busy,
    Missing,
    OperatorActionRequired,
    Unauthenticated,
    Unreachable,
)
from fleetgw.domain.ports import RECEIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record

PROBE_TIMEOUT_S = 10.0
ATTRIBUTE_BYTES = 1024
"""Longest value of an attribute that Pub/Sub takes."""

_SERVICE = "/google.pubsub.v1.Publisher/"
_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2_000),  # the timeout of an attempt to connect: 20 s otherwise
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.max_send_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # another channel has connections of its own
)

# The protobuf classes inside the library's wrappers, at a fifth of the wrappers' cost.
_PublishRequest: Any = PublishRequest.pb()  # Any: they are made at run time
_PublishResponse: Any = PublishResponse.pb()
_PubsubMessage: Any = PubsubMessage.pb()
_GetTopicRequest: Any = GetTopicRequest.pb()
_Topic: Any = Topic.pb()

_Code = grpc.StatusCode
_UNREACHED = frozenset({_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.UNIMPLEMENTED})
_BUSY = frozenset({_Code.RESOURCE_EXHAUSTED, _Code.ABORTED, _Code.INTERNAL, _Code.CANCELLED, _Code.UNKNOWN})
_PLUGIN_FAILED = "Getting metadata from plugin failed"
"""gRPC's error when the credentials' token server gives no token."""
_REFUSED = frozenset({_Code.INVALID_ARGUMENT, _Code.OUT_OF_RANGE})


class GrpcPublisher:
    """``Publisher`` over one gRPC channel. The constructor looks for credentials, which blocks.

    :param created: called with each topic that ``fault`` has created, in the same thread.
    :raises Unreachable: no credentials were found.
    """

    def __init__(self, settings: PubsubSettings, created: Callable[[str], None]) -> None:
        self._created = created
        self._ordering = settings.ordering
        self._timeout_s = settings.delivery_timeout_s
        if settings.emulator is not None:
            self._channel = grpc.insecure_channel(settings.emulator, options=_OPTIONS)
        else:
            try:
                credentials, _ = google.auth.default(scopes=_SCOPES)
            except (GoogleAuthError, OSError, ValueError) as error:
                reason = f"no Google credentials: {error}"
                raise Unreachable(reason) from error
            self._channel = google.auth.transport.grpc.secure_authorized_channel(
                credentials, google.auth.transport.requests.Request(), settings.endpoint, options=_OPTIONS
            )
        self._publish = self._method("Publish", _PublishRequest, _PublishResponse)
        self._get_topic = self._method("GetTopic", _GetTopicRequest, _Topic)
        self._create_topic = self._method("CreateTopic", _Topic, _Topic)

    def _method(self, name: str, request: Any, response: Any) -> Any:  # Any: as above
        return self._channel.unary_unary(_SERVICE + name, request.SerializeToString, response.FromString)

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Publisher``."""
        count = len(records)
        answer = self._publish.future(
            publish_request(destination, records, ordering=self._ordering),
            timeout=self._timeout_s,
            metadata=_routing("topic", destination),
        )
        answer.add_done_callback(lambda answer: done(_outcomes(answer, count)))

    def fault(self, destination: str) -> DeliveryError | None:
        """See ``Publisher``. Creates a missing topic."""
        try:
            try:
                self._get_topic(
                    _GetTopicRequest(topic=destination), timeout=PROBE_TIMEOUT_S, metadata=_routing("topic", destination)
                )
            except grpc.RpcError as error:
                if error.code() is not _Code.NOT_FOUND:
                    raise
                self._create_topic(_Topic(name=destination), timeout=PROBE_TIMEOUT_S, metadata=_routing("name", destination))
                self._created(destination)
        except grpc.RpcError as error:
            return None if error.code() in (_Code.PERMISSION_DENIED, _Code.ALREADY_EXISTS) else _meaning(error)
        except Exception as error:  # of a credentials' provider, for one
            return Unreachable(f"{type(error).__name__}: {error}")
        return None

    def close(self) -> None:
        """See ``Publisher``."""
        self._channel.close()


def publish_request(topic: str, records: Sequence[Record], *, ordering: bool) -> Any:  # Any: made at run time
    """The request for records; with ``ordering`` the ordering key of a message is its vehicle."""
    messages = [
        _PubsubMessage(
            data=record.payload, attributes=_attributes(record), ordering_key=record.vehicle.vin if ordering else ""
        )
        for record in records
    ]
    return _PublishRequest(topic=topic, messages=messages)


def _attributes(record: Record) -> dict[str, str]:
    """A record's metadata: bytes that are no UTF-8 are replaced, and a long version is cut, as it would fail the request."""
    vehicle = record.vehicle
    txid = record.txid.decode("utf-8", "replace")
    return {
        "device_client_version": _text(vehicle.device_client_version),
        "receivedat": str(record.received_at_ms),
        "timestamp": "0",
        "txid": _text(txid) if len(record.txid) <= ATTRIBUTE_BYTES else txid,  # with a longer one, the record is rejected
        "txtype": record.record_type,
        "version": "0",
        "vin": vehicle.vin,
    }


def _text(text: str) -> str:
    if len(text) <= ATTRIBUTE_BYTES and text.isascii():
        return text
    return text.encode("utf-8", "replace")[:ATTRIBUTE_BYTES].decode("utf-8", "ignore")


def _routing(key: str, topic: str) -> tuple[tuple[str, str]]:
    return (("x-goog-request-params", f"{key}={topic}"),)


def _outcomes(answer: Any, count: int) -> Sequence[Outcome]:  # Any: a call of grpc's, which leaves it untyped
    try:
        ids = answer.result().message_ids
    except grpc.RpcError as error:
        return [_meaning(error)] * count
    except grpc.FutureCancelledError:
        return [Unreachable("the connection was closed")] * count
    if len(ids) != count:
        return [Unreachable(f"{len(ids)} answers to {count} records: no Pub/Sub is there")] * count
    return [RECEIPT] * count


def _meaning(error: Any) -> DeliveryError:  # Any: a call of grpc's, which leaves it untyped
    code = error.code()
    reason = f"{code.name}: {error.details()}"
    if code in _BUSY:
        return Busy(reason)
    if code in _REFUSED:
        return BatchRejected(reason)
    if code is _Code.UNAUTHENTICATED or (code is _Code.UNAVAILABLE and _PLUGIN_FAILED in reason):
        return Unauthenticated(reason)
    if code in _UNREACHED:
        return Unreachable(reason)
    if code is _Code.NOT_FOUND:
        return Missing(reason)  # the next look creates the topic
    return OperatorActionRequired(reason)
