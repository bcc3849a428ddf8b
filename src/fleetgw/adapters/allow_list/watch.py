"""Reads the allow list again and again, and has the vehicles' port decide by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed

from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.metrics import ALLOW_LIST_AGE_SECONDS, ALLOW_LIST_FAILURES_TOTAL, ALLOW_LIST_VEHICLES

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.domain.allow_list import AllowList
    from fleetgw.domain.ports import IAllowListSource, ILog, IMetrics


@define(eq=False)
class AllowListWatch:
    """The life of an allow list: reads its source from ``start`` to ``stop``, at the source's interval.

    :ivar allow_list: decides on vehicles.
    """

    source: IAllowListSource
    allow_list: AllowList
    clock: IReactorTime
    log: ILog
    metrics: IMetrics
    _reading: Deferred[None] | None = field(default=None, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _logged: str = field(default="", init=False)
    _is_stale: bool = field(default=False, init=False)

    def start(self) -> Deferred[None]:
        """Read the list for the first time, and fire, whether or not the source has answered. Never fails."""
        metrics, allow_list = self.metrics, self.allow_list
        metrics.gauge(ALLOW_LIST_VEHICLES).measured_by(lambda: len(allow_list.vehicles or ()))
        metrics.gauge(ALLOW_LIST_AGE_SECONDS).measured_by(self._age_s)
        metrics.counter(ALLOW_LIST_FAILURES_TOTAL)
        return self._read()

    def stop(self) -> Deferred[None]:
        """Read no more: cancels a reading. Fires at once; never fails. Does nothing where nothing has started."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._reading is not None:
            self._reading.cancel()
        return succeed(None)

    def _read(self) -> Deferred[None]:
        self._next = None
        reading = self._reading = Deferred.fromCoroutine(self._read_once())
        ended: Deferred[None] = Deferred()
        reading.addBoth(lambda _: ended.callback(None))
        return ended

    async def _read_once(self) -> None:
        try:
            vehicles = await self.source.read()
        except CancelledError:
            self._reading = None
            return
        except UnusableAllowList as error:
            self._failed(str(error))
        except Exception as error:  # an unforeseen error of a client library must not end the readings
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self._answered(vehicles)
        self._reading = None
        self._next = self.clock.callLater(self.source.interval_s, self._read)

    def _answered(self, vehicles: frozenset[str] | None) -> None:
        before = self.allow_list.vehicles
        self.allow_list.answered(vehicles, self.clock.seconds())
        if (vehicles is not None and vehicles != before) or self._logged:
            now = self.allow_list.vehicles or frozenset()
            added, removed = len(now - (before or frozenset())), len((before or frozenset()) - now)
            self.log.info("allow_list_read", source=self.source.name, vehicles=len(now), added=added, removed=removed)
        self._logged, self._is_stale = "", False

    def _failed(self, reason: str) -> None:
        self.metrics.counter(ALLOW_LIST_FAILURES_TOTAL).add(1)
        allow_list = self.allow_list
        allow_list.failed(reason)
        left_s = allow_list.left_s(self.clock.seconds())
        is_stale = left_s == 0
        if reason == self._logged and is_stale == self._is_stale:
            return
        self._logged, self._is_stale = reason, is_stale
        if allow_list.vehicles is None:
            effect = "no vehicle can connect until it is read"
        elif is_stale:
            effect = "its last answer is too old: no vehicle can connect until it is read"
        elif left_s is None:
            effect = "its last answer stays in use"
        else:
            effect = f"its last answer stays in use for {left_s:.0f} s"
        self.log.error("allow_list_not_read", source=self.source.name, error=reason, effect=effect)

    def _age_s(self) -> float:
        allow_list = self.allow_list
        return float("inf") if allow_list.vehicles is None else self.clock.seconds() - allow_list.answered_at
