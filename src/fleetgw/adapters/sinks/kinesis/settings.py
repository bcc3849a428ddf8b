"""The settings of the ``kinesis`` section, read and made usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.sinks.support.context import SinkContext

MAX_RETRIES = 3
"""What the Go server's AWS library does without ``max_retries``."""

DELIVERY_TIMEOUT_S = 30.0
MAX_REQUESTS = 4
MAX_RECORD_KIB = 1024


@frozen
class KinesisSettings:
    """What the sink goes by.

    :ivar streams: stream name by record type.
    :ivar endpoint_url: in place of Amazon's; None for the region's own.
    :ivar max_retries: how often a record is sent again.
    :ivar max_requests: under way at a time for one stream.
    :ivar max_record_bytes: payload and partition key that the streams take.
    :ivar delivery_timeout_s: how long a record may wait for its confirmation.
    :ivar region: of ``AWS_REGION``, which the Go server heeds and boto3 does not; None: as boto3 finds it.
    """

    streams: Mapping[str, str]
    endpoint_url: str | None
    max_retries: int
    max_requests: int
    max_record_bytes: int
    delivery_timeout_s: float
    region: str | None = None


def stream_names(context: SinkContext, environ: Mapping[str, str]) -> dict[str, str]:
    """Stream by record type: ``KINESIS_STREAM_<TYPE>``, else the configuration's, else ``<namespace>_<record type>``."""
    configured = context.settings.get("streams")
    by_type = configured if isinstance(configured, dict) else {}
    return {
        record_type: environ.get(f"KINESIS_STREAM_{record_type.upper()}")
        or str(by_type.get(record_type) or context.destination(record_type))
        for record_type in context.record_types
    }


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """The files that boto3 reads when a client is made, whether they are there or not."""
    names = {
        environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
        environ.get("AWS_CONFIG_FILE") or "~/.aws/config",
        environ.get("AWS_CA_BUNDLE") or "",
        environ.get("AWS_WEB_IDENTITY_TOKEN_FILE") or "",
    }
    return [Path(name).expanduser() for name in sorted(names - {""})]


def read_settings(context: SinkContext, environ: Mapping[str, str]) -> KinesisSettings:
    """Read the section."""
    settings = context.settings
    return KinesisSettings(
        streams=stream_names(context, environ),
        endpoint_url=_endpoint_url(settings),
        max_retries=int(_number(settings, "max_retries", MAX_RETRIES)),
        max_requests=int(_number(settings, "max_requests", MAX_REQUESTS)),
        max_record_bytes=int(_number(settings, "max_record_kib", MAX_RECORD_KIB)) * 1024,
        delivery_timeout_s=_number(settings, "delivery_timeout_s", DELIVERY_TIMEOUT_S),
        region=environ.get("AWS_REGION") or None,
    )


def _endpoint_url(settings: Mapping[str, object]) -> str | None:
    endpoint = str(settings.get("override_host") or "")
    if not endpoint or "://" in endpoint:
        return endpoint or None
    return f"https://{endpoint}"  # as the Go server's AWS library does


def _number(settings: Mapping[str, object], key: str, default: float) -> float:
    value = settings.get(key)
    return value if isinstance(value, (int, float)) else default
