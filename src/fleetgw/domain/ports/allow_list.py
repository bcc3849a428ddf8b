"""The port to the source of the allow list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred


class IAllowListSource(Interface):
    """Tells the vehicles that may connect. Used on the reactor's thread; calls of ``read`` do not overlap."""

    name = Attribute("The source for people, a str without secrets, such as ``https://fleet.example/vins``.")

    interval_s = Attribute("Seconds between two readings, a float above 0.")

    def read() -> Deferred[frozenset[str] | None]:
        """Read the list.

        :return: fires with the device ids, or with None when they have not changed since the last answer, within a bounded
            time. Fails with ``UnusableAllowList``. Cancelling it ends the reading.
        """
