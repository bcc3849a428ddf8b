"""A reporter for gateways without Airbrake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from fleetgw.domain.ports import IErrorReporter

if TYPE_CHECKING:
    from collections.abc import Mapping


@implementer(IErrorReporter)
class NullReporter:
    """Drops every error."""

    def start(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)

    def report(self, event: str, fields: Mapping[str, object]) -> None:
        """Drop the error."""

    def stop(self) -> Deferred[None]:
        """Do nothing."""
        return succeed(None)
