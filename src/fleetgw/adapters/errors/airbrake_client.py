"""HTTP client of an Airbrake server, or of one that speaks its API such as Errbit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen
from twisted.web.http_headers import Headers

from fleetgw.adapters.secrets.secret import with_secrets_read_again

if TYPE_CHECKING:
    from fleetgw.adapters.http_client.client import HttpClient

DEFAULT_HOST = "https://api.airbrake.io"

MAX_RESPONSE_BYTES = 65_536
"""Maximum size of a response that is read; its code alone counts."""

_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500


@frozen
class AirbrakeProject:
    """Destination of notices.

    :ivar host: URL of the server; empty: Airbrake's own.
    :ivar key: of the project, a secret; a key in a file is read again for each notice.
    :ivar environment: name of this installation, such as ``production``.
    """

    host: str
    project_id: int
    key: str
    environment: str

    @property
    def url(self) -> str:
        """URL that notices are posted to."""
        return f"{(self.host or DEFAULT_HOST).rstrip('/')}/api/v3/projects/{self.project_id}/notices"


class ServerFailed(Exception):
    """The server did not take a notice; a retry may succeed."""


class NoticeRefused(Exception):
    """The server refused a notice for good."""


class AirbrakeClient:
    """Posts notices to one project."""

    def __init__(self, project: AirbrakeProject, client: HttpClient) -> None:
        self._project = project
        self._client = client

    async def post(self, body: bytes) -> None:
        """Post one notice.

        :raises NoticeRefused: the server refused this notice.
        :raises ServerFailed, RequestFailed, UnusableSecretFile: a retry may succeed.
        """
        key: str = with_secrets_read_again(self._project.key)
        headers = Headers(
            {
                b"Authorization": [b"Bearer " + key.encode()],
                b"Content-Type": [b"application/json"],
                b"User-Agent": [b"fleetgw"],
            }
        )
        response = await self._client.request(b"POST", self._project.url, headers, body)
        code = response.code
        if code == _TOO_MANY_REQUESTS or code >= _SERVER_ERRORS:
            raise ServerFailed(f"{self._project.url} answered {code}")
        if not 200 <= code < 300:
            raise NoticeRefused(f"{self._project.url} answered {code}: check airbrake.project_id and project_key")
