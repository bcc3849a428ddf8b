"""Reads the allow list again and again, and has the vehicles' port decide by it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, succeed

from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.adapters.secrets.masking import masked
from fleetgw.domain.errors import UnusableAllowList
from fleetgw.domain.line_limit import cut
from fleetgw.domain.metrics import ALLOW_LIST_AGE_SECONDS, ALLOW_LIST_FAILURES_TOTAL, ALLOW_LIST_VEHICLES

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall

    from fleetgw.adapters.allow_list.kept_answer import KeptAnswer
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.allow_list import AllowList
    from fleetgw.domain.ports import IAllowListSource, ILog, IMetrics

MAX_REASON_CHARACTERS = 512
"""Longest text of a failure that is kept and shown with each refusal."""

START_S = 15.0
"""The longest that the start waits for the first answer of the source."""


@define(eq=False)
class AllowListWatch:
    """The life of an allow list: reads its source from ``start`` to ``stop``, at the source's interval.

    :ivar allow_list: decides on vehicles.
    :ivar kept: the last answer on disk; None: it ends with the process.
    """

    source: IAllowListSource
    allow_list: AllowList
    reactor: IThreadedReactor
    log: ILog
    metrics: IMetrics
    kept: KeptAnswer | None = None
    _reading: Deferred[None] | None = field(default=None, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _logged: str = field(default="", init=False)
    _is_stale: bool = field(default=False, init=False)
    _is_of_before: bool = field(default=False, init=False)  # the last answer is of before the start
    _is_keeping: bool = field(default=False, init=False)
    _not_kept: str = field(default="", init=False)

    def start(self) -> Deferred[None]:
        """Read the list for the first time, and fire, whether or not the source has answered. Never fails.

        Until the source answers, an answer of before the start decides, where one is kept.
        """
        metrics, allow_list = self.metrics, self.allow_list
        metrics.gauge(ALLOW_LIST_VEHICLES).measured_by(lambda: len(allow_list.vehicles or ()))
        metrics.gauge(ALLOW_LIST_AGE_SECONDS).measured_by(self._age_s)
        metrics.counter(ALLOW_LIST_FAILURES_TOTAL)
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        if self.kept is not None:
            await self._load(self.kept)
        await self._read().addTimeout(START_S, self.reactor, self._late)

    def _late(self, _: object, timeout_s: float) -> None:
        self._failed(f"has not answered within {timeout_s:g} s")

    async def _load(self, kept: KeptAnswer) -> None:
        try:
            answer = await call_in_thread(self.reactor, kept.load)
        except UnusableAllowList as error:
            self._tell_not_kept(kept, str(error))
            return
        if answer is not None:
            self.allow_list.answered(answer.vehicles, self.reactor.seconds() - answer.age_s)
            self._is_of_before = True

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
            added, removed = 0, 0
            if vehicles is not None:
                before = self.allow_list.vehicles or frozenset()
                added, removed = await call_in_thread(self.reactor, partial(_change, before, vehicles))
        except CancelledError:
            self._reading = None
            return
        except UnusableAllowList as error:
            self._failed(str(error))
        except Exception as error:  # an unforeseen error of a client library must not end the readings
            self._failed(f"{type(error).__name__}: {error}")
        else:
            self._answered(vehicles, added, removed)
        self._reading = None
        self._next = self.reactor.callLater(self.source.interval_s, self._read)

    def _answered(self, vehicles: frozenset[str] | None, added: int, removed: int) -> None:
        is_first = self.allow_list.vehicles is None or self._is_of_before
        self.allow_list.answered(vehicles, self.reactor.seconds())
        if added or removed or self._logged or is_first:
            count = len(self.allow_list.vehicles or ())
            self.log.info("allow_list_read", source=self.source.name, vehicles=count, added=added, removed=removed)
        self._logged, self._is_stale, self._is_of_before = "", False, False
        if self.kept is not None and self.allow_list.vehicles is not None and not self._is_keeping:
            self._is_keeping = True
            Deferred.fromCoroutine(self._keep(self.kept, self.allow_list.vehicles))

    async def _keep(self, kept: KeptAnswer, vehicles: frozenset[str]) -> None:
        try:
            await call_in_thread(self.reactor, lambda: kept.keep(vehicles))
        except UnusableAllowList as error:
            self._tell_not_kept(kept, str(error))
        else:
            self._not_kept = ""
        self._is_keeping = False

    def _tell_not_kept(self, kept: KeptAnswer, error: str) -> None:
        if error != self._not_kept:
            self._not_kept = error
            self.log.error("allow_list_not_kept", path=str(kept.path), error=error)

    def _failed(self, reason: str) -> None:
        self.metrics.counter(ALLOW_LIST_FAILURES_TOTAL).add(1)
        allow_list = self.allow_list
        reason = cut(masked(reason), MAX_REASON_CHARACTERS)
        allow_list.failed(reason)
        left_s = allow_list.left_s(self.reactor.seconds())
        is_stale = left_s == 0
        if reason == self._logged and is_stale == self._is_stale:
            return
        self._logged, self._is_stale = reason, is_stale
        if allow_list.vehicles is None:
            effect = "no vehicle can connect until it is read"
        else:
            answer = "its last answer, of before the start," if self._is_of_before else "its last answer"
            if is_stale:
                effect = f"{answer} is too old: no vehicle can connect until it is read"
            elif left_s is None:
                effect = f"{answer} stays in use"
            else:
                effect = f"{answer} stays in use for {left_s:.0f} s"
        self.log.error("allow_list_not_read", source=self.source.name, error=reason, effect=effect)

    def _age_s(self) -> float:
        allow_list = self.allow_list
        return float("inf") if allow_list.vehicles is None else self.reactor.seconds() - allow_list.answered_at


def _change(before: frozenset[str], now: frozenset[str]) -> tuple[int, int]:
    """Numbers of vehicles added and removed. For a thread: unlike a difference of sets, a loop gives others their turns."""
    added = sum(vehicle not in before for vehicle in now)
    return added, len(before) - (len(now) - added)
