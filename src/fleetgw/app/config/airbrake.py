"""The section ``airbrake``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.values import Settings

KEY_VARIABLE = "AIRBRAKE_PROJECT_KEY"


class Airbrake(Settings, frozen=True, kw_only=True):
    """Errors of the log as notices to an Airbrake server, or to one with the same API, such as Errbit."""

    host: Annotated[str, Meta(description="URL of the server; empty: `https://api.airbrake.io`.")] = ""
    project_id: Annotated[int, Meta(description="Number of the project.")] = 0
    project_key: Annotated[
        Secret | None,
        Meta(
            description="Key of the project; the environment variable `AIRBRAKE_PROJECT_KEY` wins over it. Without one, no "
            "notice is sent.",
            extra={"environment": KEY_VARIABLE},
        ),
    ] = None
    environment: Annotated[str, Meta(description="Name of the environment in notices, such as `production`.")] = ""
    tls: Annotated[ClientTls | None, Meta(description="TLS towards the server.")] = None
