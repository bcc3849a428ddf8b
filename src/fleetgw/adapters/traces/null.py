"""No traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.domain.ports import ITracing

if TYPE_CHECKING:
    from fleetgw.domain.ports import ITrace
    from fleetgw.domain.records import Vehicle


@implementer(ITracing)
class NoTracing:
    """Follows nothing."""

    is_on = False

    def trace(self, host: str, remote: str, device_id: str = "") -> ITrace | None:  # noqa: ARG002  see ``ITracing``
        """See ``ITracing``."""
        return None

    def follow(self, vehicle: Vehicle, trace: ITrace | None) -> None:
        """See ``ITracing``."""
