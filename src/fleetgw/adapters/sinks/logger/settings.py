"""The section ``logger``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Settings


class Logger(Settings, frozen=True, kw_only=True):
    """The sink `logger`."""

    verbose: Annotated[bool, Meta(description="Wrap each value in an object that names its type.")] = False
