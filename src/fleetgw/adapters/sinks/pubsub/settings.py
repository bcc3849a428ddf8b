"""The settings of the section ``pubsub``."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  msgspec reads the annotations of sections
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from attrs import frozen
from msgspec import Meta

from fleetgw.adapters.settings.converting import typed
from fleetgw.adapters.settings.values import OLD_RELIABLE_ACK, Pause, Positive, Settings
from fleetgw.adapters.sinks.support.by_record_type import ByRecordType
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.sinks.support.context import SinkContext

MAX_RETRIES = 3
MAX_REQUESTS = 4
MAX_ORDERED_REQUESTS = 64
ENDPOINT = "pubsub.googleapis.com:443"


class Pubsub(Settings, frozen=True, kw_only=True):
    """Google Cloud Pub/Sub."""

    old_keys: ClassVar[Mapping[str, str]] = OLD_RELIABLE_ACK
    near_keys: ClassVar[Mapping[str, str]] = dict.fromkeys(("project", "project_id", "gcp_project"), "gcp_project_id")

    gcp_project_id: Annotated[str, Meta(description="The project that owns the topics.")] = ""
    ordering_by_vehicle: Annotated[
        bool,
        Meta(description="Give each message its vehicle as ordering key; subscriptions must ask for message ordering too."),
    ] = False
    endpoint: Annotated[
        str | None,
        Meta(description="`host:port` in place of `pubsub.googleapis.com:443`, such as that of a region."),
    ] = None
    max_requests: Annotated[
        Positive | None,
        Meta(description="Requests under way at a time, for each topic; default 4, with `ordering_by_vehicle` 64."),
    ] = None
    delivery_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its confirmation.")] = 30


@frozen
class PubsubSettings:
    """The settings as the sink uses them.

    :ivar project: the project that owns the topics.
    :ivar topics: full topic name by record type.
    :ivar emulator: ``host:port`` of an emulator, which has neither TLS nor credentials; None without one.
    :ivar endpoint: ``host:port`` of the service.
    :ivar ordering: whether messages carry the vehicle as ordering key.
    :ivar max_requests: most requests in flight for one topic.
    :ivar delivery_timeout_s: longest wait of a record for its confirmation, in seconds.
    """

    project: str
    topics: Mapping[str, str]
    emulator: str | None
    endpoint: str
    ordering: bool
    max_requests: int
    delivery_timeout_s: float


def credential_files(environ: Mapping[str, str]) -> list[Path]:
    """The file with the credentials, whether it exists or not; none with an emulator."""
    if environ.get("PUBSUB_EMULATOR_HOST"):
        return []
    folder = environ.get("CLOUDSDK_CONFIG") or "~/.config/gcloud"
    default = f"{folder}/application_default_credentials.json"
    return [Path(environ.get("GOOGLE_APPLICATION_CREDENTIALS") or default).expanduser()]


def read_settings(context: SinkContext, environ: Mapping[str, str]) -> PubsubSettings:
    """Read the section.

    :raises ConfigurationError: there is no project, or the environment names an emulator and credentials.
    """
    section = typed(Pubsub, context.settings, context.name)
    if not section.gcp_project_id:
        fix = "name the project that owns the topics"
        raise ConfigurationError([Problem(f"{context.name}.gcp_project_id", "is missing", fix)])
    emulator = environ.get("PUBSUB_EMULATOR_HOST") or None
    if emulator and environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        what = "both PUBSUB_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS are set"
        raise ConfigurationError([Problem(context.name, what, "unset one of these environment variables")])
    ordering = section.ordering_by_vehicle
    project = section.gcp_project_id
    return PubsubSettings(
        project=project,
        topics=ByRecordType(lambda kind: f"projects/{project}/topics/{context.destination(kind)}", context.record_types),
        emulator=emulator,
        endpoint=section.endpoint or ENDPOINT,
        ordering=ordering,
        max_requests=section.max_requests or (MAX_ORDERED_REQUESTS if ordering else MAX_REQUESTS),
        delivery_timeout_s=section.delivery_timeout_s,
    )
