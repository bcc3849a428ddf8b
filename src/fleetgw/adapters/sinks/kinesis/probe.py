"""The doctor's probe of Kinesis. All of it blocks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import TIMEOUT_S, check_reachable, guess_server
from fleetgw.adapters.sinks.kinesis.settings import read_settings
from fleetgw.adapters.text.addresses import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

_PORTS = {"http": 80, "https": 443}

_CREDENTIALS_REFUSED = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


def kinesis_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check region, credentials and endpoint, then each stream."""
    settings = read_settings(context, os.environ)
    session = boto3.Session(region_name=settings.region)
    if session.region_name is None:
        yield will_not_work("no AWS region", "set AWS_REGION, or region in the AWS configuration file")
        return
    credentials = session.get_credentials()
    if credentials is None:
        fix = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, or a role of this machine"
        yield will_not_work("no AWS credentials", fix)
        return
    yield good(f"region {session.region_name}, access key ...{credentials.access_key[-4:]} (from {credentials.method})")
    config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"mode": "standard", "total_max_attempts": 1})
    try:
        client = session.client("kinesis", endpoint_url=settings.endpoint_url, config=config)
    except (BotoCoreError, ValueError) as error:
        yield will_not_work(f"{type(error).__name__}: {error}", "correct override_host or the AWS configuration")
        return
    place = urlsplit(client.meta.endpoint_url)
    host, port = place.hostname or "", place.port or _PORTS.get(place.scheme, 443)
    if not (yield from check_reachable(host, port)):
        return
    for stream in dict.fromkeys(settings.streams.values()):
        try:
            yield stream_finding(client, stream)
        except BotoCoreError as error:
            what = f"{address(host, port)} does not answer as Kinesis: {error}; {guess_server(host, port)}"
            yield will_not_work(what, "correct override_host, or leave it out for Amazon's own")
            return


def stream_finding(client: Any, stream: str) -> Finding:  # Any: boto3 makes its clients at run time
    """The finding on one stream.

    :raises BotoCoreError: no answer, or none of Kinesis.
    """
    try:
        summary = client.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    except ClientError as error:
        return _refusal(stream, error)
    what = f"stream {stream}: {summary['StreamStatus']}, {summary['OpenShardCount']} shards"
    if summary["StreamStatus"] in {"CREATING", "DELETING"}:
        return will_not_work(what, "wait until it is ACTIVE, or create it anew")
    return good(what)


def _refusal(stream: str, error: ClientError) -> Finding:
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code == "ResourceNotFoundException":
        fix = f"create it: aws kinesis create-stream --stream-name {stream}; or correct kinesis.streams"
        return will_not_work(f"stream {stream} does not exist", fix)
    if code == "AccessDeniedException":
        fix = "nothing, if it may kinesis:PutRecords; grant kinesis:DescribeStreamSummary to see more"
        return worth_a_look(f"stream {stream}: we may not look at it", fix)
    if code in _CREDENTIALS_REFUSED:
        return will_not_work(f"credentials refused: {error}", "correct the credentials, and see that the clock is right")
    return will_not_work(f"stream {stream}: {error}", "correct override_host, or see AWS's own documentation of the error")
