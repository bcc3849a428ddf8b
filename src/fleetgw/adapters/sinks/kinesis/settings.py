"""The settings of the section ``kinesis``."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  msgspec reads the annotations of sections
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from attrs import frozen
from msgspec import Meta

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import OLD_RELIABLE_ACK, Natural, Pause, Positive, Settings
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext


class Kinesis(Settings, frozen=True, kw_only=True):
    """Amazon Kinesis. Credentials and region come from the usual AWS places."""

    old_keys: ClassVar[Mapping[str, str]] = OLD_RELIABLE_ACK
    near_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("endpoint", "endpoint_url", "host"), "override_host")

    max_retries: Annotated[
        Natural,
        Meta(
            description="How often a record that the stream had no room for is sent again; -1: the default, "
            "as of the Go server's AWS library.",
            extra={"as_left_out": (-1,)},
        ),
    ] = 3
    override_host: Annotated[
        str | None, Meta(description="Endpoint in place of Amazon's: a URL, or `host:port` for HTTPS.")
    ] = None
    streams: Annotated[
        dict[str, str],
        Meta(
            description="Record type to stream name; default `<namespace>_<record type>`. The environment variable "
            "`KINESIS_STREAM_<TYPE>`, the type in capitals, wins over it."
        ),
    ] = {}
    max_requests: Annotated[Positive, Meta(description="Requests under way at a time, for each stream.")] = 4
    max_record_kib: Annotated[
        Positive, Meta(description="Largest record, in KiB, that the streams take: payload and partition key.")
    ] = 1024
    delivery_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its confirmation.")] = 30


@frozen
class KinesisSettings:
    """The settings as the sink uses them.

    :ivar streams: stream name by record type.
    :ivar endpoint_url: the endpoint in place of Amazon's; None for the region's own.
    :ivar max_retries: number of times that a record is sent again.
    :ivar max_requests: most requests in flight for one stream.
    :ivar max_record_bytes: largest payload and partition key, together, that the streams take.
    :ivar delivery_timeout_s: longest wait of a record for its confirmation, in seconds.
    :ivar region: the value of ``AWS_REGION``, which the Go server heeds and boto3 does not; None: as boto3 finds it.
    """

    streams: Mapping[str, str]
    endpoint_url: str | None
    max_retries: int
    max_requests: int
    max_record_bytes: int
    delivery_timeout_s: float
    region: str | None = None


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """The files that boto3 reads when a client is made, whether they exist or not."""
    names = {
        environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
        environ.get("AWS_CONFIG_FILE") or "~/.aws/config",
        environ.get("AWS_CA_BUNDLE") or "",
        environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or "",
    }
    return [Path(name).expanduser() for name in sorted(names - {""})]


def read_settings(context: SinkContext, environ: Mapping[str, str]) -> KinesisSettings:
    """Read the section.

    :raises ConfigurationError: a setting is unknown, of the wrong type or out of range.
    """
    section = typed(Kinesis, context.settings, context.name)
    return KinesisSettings(
        streams=ByRecordType(
            lambda record_type: (
                environ.get(f"KINESIS_STREAM_{record_type.upper()}")
                or section.streams.get(record_type)
                or context.destination(record_type)
            ),
            context.record_types,
        ),
        endpoint_url=_endpoint_url(section.override_host or ""),
        max_retries=section.max_retries,
        max_requests=section.max_requests,
        max_record_bytes=section.max_record_kib * 1024,
        delivery_timeout_s=section.delivery_timeout_s,
        region=environ.get("AWS_REGION") or None,
    )


def _endpoint_url(endpoint: str) -> str | None:
    if not endpoint or "://" in endpoint:
        return endpoint or None
    return f"https://{endpoint}"  # as the Go server's AWS library does
