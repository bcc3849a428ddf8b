"""The settings of the ``pubsub`` section, read and made usable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.sinks.support.context import SinkContext

DELIVERY_TIMEOUT_S = 30.0
MAX_RETRIES = 3
MAX_REQUESTS = 4
MAX_ORDERED_REQUESTS = 64
ENDPOINT = "pubsub.googleapis.com:443"


@frozen
class PubsubSettings:
    """What the sink goes by.

    :ivar topics: full topic name by record type.
    :ivar emulator: ``host:port`` of an emulator, which is spoken to in the clear and without credentials; else None.
    :ivar endpoint: ``host:port`` of the service.
    :ivar ordering: messages carry the vehicle as ordering key.
    :ivar max_requests: under way at a time for one topic.
    :ivar delivery_timeout_s: how long a record may wait for its confirmation.
    """

    project: str
    topics: Mapping[str, str]
    emulator: str | None
    endpoint: str
    ordering: bool
    max_requests: int
    delivery_timeout_s: float


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """The file that the credentials come from, whether it is there or not; none with an emulator."""
    if environ.get("PUBSUB_EMULATOR_HOST"):
        return []
    folder = environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud"
    default = f"{folder}/application_default_credentials.json"
    return [Path(environ.get("GOOGLE_APPLICATION_CREDENTIALS") or default).expanduser()]


def read_settings(context: SinkContext, environ: Mapping[str, str]) -> PubsubSettings:
    """Read the section.

    :raises ConfigurationError: there is no project, or the environment names an emulator and credentials.
    """
    settings = context.settings
    project = str(settings.get("gcp_project_id") or "")
    if not project:
        fix = "name the project that owns the topics"
        raise ConfigurationError([Problem(f"{context.name}.gcp_project_id", "is missing", fix)])
    emulator = environ.get("PUBSUB_EMULATOR_HOST") or None
    if emulator and environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        what = "both PUBSUB_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS are set"
        raise ConfigurationError([Problem(context.name, what, "unset one of these environment variables")])
    ordering = bool(settings.get("ordering_by_vehicle", False))
    requests = settings.get("max_requests")
    timeout_s = settings.get("delivery_timeout_s")
    return PubsubSettings(
        project=project,
        topics={kind: f"projects/{project}/topics/{context.destination(kind)}" for kind in context.record_types},
        emulator=emulator,
        endpoint=str(settings.get("endpoint") or ENDPOINT),
        ordering=ordering,
        max_requests=requests if isinstance(requests, int) else MAX_ORDERED_REQUESTS if ordering else MAX_REQUESTS,
        delivery_timeout_s=timeout_s if isinstance(timeout_s, (int, float)) else DELIVERY_TIMEOUT_S,
    )
