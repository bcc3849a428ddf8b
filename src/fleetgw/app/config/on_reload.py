"""The effect that a reload has on a key: the hint ``on_reload`` of its field, or of the section around it."""

from enum import Enum
from typing import Any

from fleetgw.adapters.settings.wording import hint


class OnReload(Enum):
    """The effect of a reload on a key; the value is its word in the reference."""

    APPLIED = "applied"
    """The running gateway takes the new value over."""

    NEW_SINKS = "new sinks"
    """It holds for sinks that the reload starts; for a sink that runs it needs a restart."""

    RESTART = "restart"
    """The old value holds until a restart."""


APPLIED = {"on_reload": OnReload.APPLIED}
RESTART = {"on_reload": OnReload.RESTART}
NEW_SINKS = {"on_reload": OnReload.NEW_SINKS}


def effect_of(kind: Any, around: OnReload = OnReload.RESTART) -> OnReload:  # a type annotation of any form
    """The effect on the key of a field.

    :param kind: the field's annotation.
    :param around: the effect on the section that it is in.
    """
    return hint(kind, "on_reload") or around
