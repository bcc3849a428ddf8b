"""The section ``health``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Seconds, Settings


class Health(Settings, frozen=True, kw_only=True):
    """When `/ready` answers 503."""

    sink_grace_s: Annotated[
        Seconds,
        Meta(
            description="Seconds that a sink may be not ready before `/ready` answers 503 because of it; 0: it never does, "
            "as the queue or the spool has room for the records."
        ),
    ] = 0.0
