"""A source of the allow list that answers when a test says so."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import implementer

from fleetgw.domain.ports import IAllowListSource


@implementer(IAllowListSource)
class ScriptedSource:
    """Fires the ``readings``, one after the other, where the test fires them."""

    name, interval_s = "the source", 30.0

    def __init__(self) -> None:
        self.readings: list[Deferred[frozenset[str] | None]] = []

    def read(self) -> Deferred[frozenset[str] | None]:
        """See ``IAllowListSource``."""
        self.readings.append(Deferred())
        return self.readings[-1]
