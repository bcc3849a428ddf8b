"""The check of the allow list: reads its source once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.app.doctor.checkup import Check
from fleetgw.app.service.allow_list_maker import make_source
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.ports import Finding, IDiagnosable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.ports import IAllowListSource


def allow_list_checks(config: Config, reactor: IThreadedReactor) -> list[Check]:
    """The check of the allow list, where there is one.

    :raises ConfigurationError: the client of the source is not installed.
    """
    allow = config.vehicles.allow
    return [] if allow is None else [Check("allow list", AllowListProbe(make_source(allow, reactor)))]


@implementer(IDiagnosable)
@define(eq=False)
class AllowListProbe:
    """Reads the list."""

    source: IAllowListSource

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        """See ``IDiagnosable``."""
        return Deferred.fromCoroutine(self._diagnose())

    async def _diagnose(self) -> Sequence[Finding]:
        try:
            vehicles = await self.source.read()
        except CancelledError:
            return []
        except UnusableAllowList as error:
            return [
                will_not_work(
                    f"{self.source.name}: {error}",
                    "bring the source back: a gateway without an earlier answer admits no vehicle",
                )
            ]
        if not vehicles:
            return [worth_a_look(f"{self.source.name}: no vehicle is on the list", "add VINs, or no vehicle can connect")]
        return [good(f"{self.source.name}: {len(vehicles)} vehicles")]
