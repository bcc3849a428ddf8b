"""The section ``airbrake``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.values import Secret, Settings


class Airbrake(Settings, frozen=True, kw_only=True):
    """Error reports to an Airbrake server. Not available in this version: read, checked and not used."""

    host: Annotated[str, Meta(description="URL of the server.")] = ""
    project_id: Annotated[int, Meta(description="Number of the project.")] = 0
    project_key: Annotated[
        Secret | None,
        Meta(
            description="Key of the project; the environment variable `AIRBRAKE_PROJECT_KEY` wins over it.",
            extra={"environment": "AIRBRAKE_PROJECT_KEY"},
        ),
    ] = None
    environment: Annotated[str, Meta(description="Name of the environment in reports.")] = ""
    tls: Annotated[ClientTls | None, Meta(description="TLS towards the server.")] = None
