"""The doctor's probe of Pub/Sub. All of it blocks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import google.auth
import google.auth.transport.grpc
import google.auth.transport.requests
import grpc
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1.types import GetTopicRequest, Topic

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import TIMEOUT_S, check_reachable, guess_server
from fleetgw.adapters.sinks.pubsub.settings import read_settings
from fleetgw.adapters.text.addresses import split_address

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from fleetgw.adapters.sinks.pubsub.settings import PubsubSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

_SCOPES = ("https://www.googleapis.com/auth/pubsub",)
_HTTPS = 443
_Code = grpc.StatusCode


def pubsub_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check credentials and the service, then each topic. Unlike the sink, it creates none."""
    settings = read_settings(context, os.environ)
    place = split_address(settings.emulator or settings.endpoint, _HTTPS)
    if not (yield from check_reachable(*place)):
        return
    channel = yield from _channel(settings)
    if channel is None:
        return
    with channel:
        ask = channel.unary_unary("/google.pubsub.v1.Publisher/GetTopic", GetTopicRequest.serialize, Topic.deserialize)
        for topic in settings.topics.values():
            try:
                ask(GetTopicRequest(topic=topic), timeout=TIMEOUT_S, metadata=(("x-goog-request-params", f"topic={topic}"),))
            except grpc.RpcError as error:
                finding, goes_on = _refusal(topic, error, place, settings.project)
                yield finding
                if not goes_on:
                    return
            except GoogleAuthError as error:
                yield will_not_work(f"the credentials do not work: {error}", "gcloud auth application-default login")
                return
            else:
                yield good(f"topic {topic}")


def _channel(settings: PubsubSettings) -> Generator[Finding, None, Any]:  # Any: grpc has no types
    if settings.emulator is not None:
        yield good(f"the emulator of PUBSUB_EMULATOR_HOST, without credentials; project {settings.project}")
        return grpc.insecure_channel(settings.emulator)
    try:
        credentials, _ = google.auth.default(scopes=_SCOPES)
    except (GoogleAuthError, OSError, ValueError) as error:
        fix = "name a key file in GOOGLE_APPLICATION_CREDENTIALS, or run: gcloud auth application-default login"
        yield will_not_work(f"no Google credentials: {error}", fix)
        return None
    account = getattr(credentials, "service_account_email", None) or type(credentials).__name__
    yield good(f"credentials of {account}; project {settings.project}")
    request = google.auth.transport.requests.Request()
    channel: Any = google.auth.transport.grpc.secure_authorized_channel  # Any: as above
    return channel(credentials, request, settings.endpoint)


def _refusal(topic: str, error: Any, place: tuple[str, int], project: str) -> tuple[Finding, bool]:  # Any: as above
    """The finding on an error, and whether to go on with the other topics."""
    code, details = error.code(), error.details()
    name = topic.rpartition("/")[2]
    if code is _Code.NOT_FOUND:
        fix = f"nothing, if we may create it; else: gcloud pubsub topics create {name} --project {project}"
        return worth_a_look(f"topic {topic} is not there yet: the sink creates it", fix), True
    if code is _Code.PERMISSION_DENIED:
        fix = "nothing, if we may publish (roles/pubsub.publisher); grant pubsub.topics.get to see more"
        return worth_a_look(f"topic {topic}: we may not look at it: {details}", fix), True
    if code is _Code.UNAUTHENTICATED:
        return will_not_work(
            f"credentials refused: {details}", "correct the credentials, and see that the clock is right"
        ), False
    what = f"no answer of Pub/Sub: {code.name}: {details}; {guess_server(*place)}"
    return will_not_work(what, "correct PUBSUB_EMULATOR_HOST or endpoint, or see whether the server hangs"), False
