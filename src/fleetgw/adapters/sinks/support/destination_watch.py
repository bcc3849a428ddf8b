"""Whether a sink's destinations can be reached, as last seen, and when to look again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.domain.errors import NotConnected, Retryable
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome, Readiness

LOOK_INITIAL_S = 0.5
LOOK_MAX_S = 30.0
LOOK_WANTED_S = 1.0
"""The longest pause while records wait: as long as a service may be back before they leave."""

_READY = Ready()


class Unreachable(NotConnected):
    """The service itself cannot be reached, whichever the destination."""


class Unauthenticated(Unreachable):
    """The service knows our credentials no more, or not yet: they have to be read again."""


class Missing(Retryable):
    """One destination is not there, or not yet: the others may be. The next look may find it."""


class OperatorActionRequired(Retryable):
    """An operator must act, for example grant a permission. Until then every record fails, although a probe may pass."""


class DestinationWatch:
    """Knows what is wrong with the service and each destination, and looks again, ever less often, while something is.

    :param look: begins a look at all destinations; what it finds is told by ``looked``, once for each call.
    """

    def __init__(self, clock: IReactorTime, look: Callable[[], None], failures: FailureLog, random: Random) -> None:
        self._clock = clock
        self._look = look
        self._failures = failures
        self._random = random
        self._unreachable: str | None = "not started"
        self._found: dict[str, str] = {}  # until a look finds better, or a record arrives
        self._lasting: dict[str, str] = {}  # until a record arrives
        self._next: IDelayedCall | None = None
        self._looking = False
        self._pause_s = LOOK_INITIAL_S
        self._wanted = False  # records have been turned away since the last that was not
        self._again = False
        self._stopped = False

    def start(self) -> None:
        """Look for the first time."""
        self._unreachable = "has not answered yet"
        self._begin()

    def stop(self) -> None:
        """Look no more."""
        self._stopped = True
        self._cancel_next()

    def look_now(self) -> None:
        """Look at once; where a look is under way, again after it."""
        if self._looking:
            self._again = True
        elif not self._stopped:
            self._cancel_next()
            self._begin()

    def readiness(self) -> Readiness:
        """Ready when nothing is known to be wrong with any destination."""
        if self._stopped:
            return NotReady("stopped")
        if self._unreachable is not None:
            return NotReady(self._unreachable)
        for destination, reason in (*self._lasting.items(), *self._found.items()):
            return NotReady(f"{destination}: {reason}")
        return _READY

    def looked(self, findings: Mapping[str, DeliveryError | None]) -> None:
        """Take what a look has found.

        :param findings: by destination, what is wrong, or None.
        """
        self._looking = False
        if self._stopped:
            return
        self._unreachable = None
        self._found.clear()
        for destination, error in findings.items():
            if error is None:
                continue
            self._failures.add(type(error).__name__, f"{destination}: {error}")
            if isinstance(error, Unreachable):
                self._unreachable = str(error)
            else:
                self._found[destination] = str(error)
        if self._again:
            self._again = False
            self.look_now()
        else:
            self._look_later()

    def answered(self, destination: str, outcomes: Sequence[Outcome]) -> None:
        """Take how a request fared."""
        if self._stopped:
            return
        last = outcomes[-1]
        match last:
            case Unreachable():
                self._unreachable = str(last)
            case Missing():
                self._found[destination] = str(last)
            case OperatorActionRequired():
                self._lasting[destination] = str(last)
            case _:
                self._unreachable = None
                self._found.pop(destination, None)
                self._lasting.pop(destination, None)
        if isinstance(last, (Unreachable, Missing)) and not self._wanted:
            self._wanted = True
            self._cancel_next()
        self._look_later()

    def _look_later(self) -> None:
        if self._unreachable is None and not self._found:
            self._pause_s = LOOK_INITIAL_S
            self._wanted = False
        elif not self._looking and self._next is None:
            if self._wanted:
                self._pause_s = min(LOOK_WANTED_S, self._pause_s)
            self._next = self._clock.callLater(self._pause_s * self._random.uniform(0.5, 1), self._begin)
            self._pause_s = min(LOOK_MAX_S, self._pause_s * 2)

    def _cancel_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        self._looking = True
        self._look()
