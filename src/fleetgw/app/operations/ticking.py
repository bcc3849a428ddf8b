"""Calls functions at an interval: the timers of everything that operators are shown."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.domain.ports import ILog

INTERVAL_S = 1.0


@define(eq=False)
class Ticking:
    """Calls its functions every ``interval_s`` between ``start`` and ``stop``.

    :ivar at_once: whether ``start`` calls them for the first time.
    :ivar functions: called in this order, each for a bounded time; one that raises is logged, and the others are called.
    """

    clock: IReactorTime
    log: ILog
    functions: Sequence[Callable[[], object]]
    interval_s: float = field(default=INTERVAL_S, kw_only=True)
    at_once: bool = field(default=True, kw_only=True)
    _loop: LoopingCall | None = field(default=None, init=False)

    def start(self) -> Deferred[None]:
        """Begin. Fires at once; never fails."""
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self.clock
        self._loop.start(self.interval_s, now=self.at_once)
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Call no function any more. Fires at once; never fails."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None
        return succeed(None)

    def _tick(self) -> None:
        for function in self.functions:
            try:
                function()
            except Exception:  # one of them must not stop the others
                self.log.error("operations_failed", error=traceback.format_exc())
