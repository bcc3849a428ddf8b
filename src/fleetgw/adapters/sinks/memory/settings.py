"""The section ``memory``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Positive, Settings


class Memory(Settings, frozen=True, kw_only=True):
    """The sink `memory`, for tests."""

    capacity: Annotated[
        Positive, Meta(description="Delivered records that it keeps, the latest, and records that it may hold.")
    ] = 10_000
    timeout_s: Annotated[Positive, Meta(description="Seconds that it may hold a record.")] = 30
