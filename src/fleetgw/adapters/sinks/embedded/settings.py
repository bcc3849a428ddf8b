"""The section ``embedded``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Natural, Pause, Settings


class Embedded(Settings, frozen=True, kw_only=True):
    """The listeners of a program that runs the gateway inside itself. Every key has a default."""

    listener_timeout_s: Annotated[
        Pause,
        Meta(description="Seconds that a listener may take, and that a record may wait for its vehicle's earlier ones."),
    ] = 30
    attempts: Annotated[
        Natural, Meta(description="Attempts to hand a record to listeners that raise exceptions; 0: no limit.")
    ] = 5
