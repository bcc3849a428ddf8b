"""The section ``dispatchers``."""

import re
from typing import Annotated

from msgspec import Meta, field

from fleetgw.adapters.settings.values import FREE_FORM, Setting, Settings


class Dispatcher(Settings, frozen=True, kw_only=True):
    """A third party's sink."""

    class_: Annotated[
        str | None,
        Meta(description="`module:NAME` of its `SinkType`; left out: the entry point of this name in `fleetgw.sinks`."),
    ] = field(default=None, name="class")
    settings: Annotated[
        dict[str, Setting], Meta(description="As its `SinkType` declares them; secrets resolved.", extra=FREE_FORM)
    ] = {}


def is_place(text: str) -> bool:
    """Whether a text is of the form ``module:NAME``."""
    return re.fullmatch(r"[\w.]+:[\w.]+", text) is not None
