"""The outcome watch: calls an observer with the outcomes of every lane's batches, while there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable

    from fleetgw.app.pipeline.confirmations import AwaitsConfirmation
    from fleetgw.domain.delivery.batch import Settlement

    AnySettlement: TypeAlias = Settlement[AwaitsConfirmation]


@define(eq=False)
class OutcomeWatch:
    """Shared by all lanes of a gateway.

    :ivar observer: called with the name of the sink for each batch that is settled; never raises. None: nobody observes.
    """

    observer: Callable[[str, AnySettlement], None] | None = None
