"""Probes of a service's destinations: when the next one is due, and the readiness that follows from probes and requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetgw.adapters.sinks.support.request_errors import Missing, OperatorActionRequired, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from fleetgw.adapters.sinks.support.destination import Destination
    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome

PROBE_INITIAL_S = 0.5
PROBE_MAX_S = 30.0
PROBE_WANTED_S = 1.0
"""Longest pause between probes while records wait for the service to come back."""


class DestinationWatch:
    """Knows the faults of a service and of its destinations, and probes with exponential backoff while there is one.

    :param destination: told of each change.
    :param probe: begins a probe of all destinations. ``probed`` is called with the result, once for each probe.
    """

    def __init__(
        self,
        clock: IReactorTime,
        destination: Destination,
        probe: Callable[[], None],
        failures: FailureLog,
        random: Random,
    ) -> None:
        self._clock = clock
        self._destination = destination
        self._probe = probe
        self._failures = failures
        self._random = random
        self._unreachable: str | None = "has not answered yet"
        self._faults: dict[str, str] = {}  # by destination, until a probe succeeds or a record arrives
        self._lasting_faults: dict[str, str] = {}  # by destination, until a record arrives
        self._next: IDelayedCall | None = None
        self._probing = False
        self._pause_s = PROBE_INITIAL_S
        self._wanted = False  # a request has failed since the last success
        self._again = False
        self._stopped = False

    def start(self) -> None:
        """Begin the first probe."""
        self._update()
        self._begin()

    def stop(self) -> None:
        """Begin no further probe."""
        self._stopped = True
        self._cancel_next()

    def probe_now(self) -> None:
        """Begin a probe; where one is under way, begin another after it."""
        if self._probing:
            self._again = True
        elif not self._stopped:
            self._cancel_next()
            self._begin()

    def probed(self, faults: Mapping[str, DeliveryError | None]) -> None:
        """Take the result of a probe.

        :param faults: by destination; None for one without a fault.
        """
        self._probing = False
        if self._stopped:
            return
        self._unreachable = None
        self._faults.clear()
        for destination, fault in faults.items():
            if fault is None:
                continue
            self._failures.add(type(fault).__name__, f"{destination}: {fault}")
            if isinstance(fault, Unreachable):
                self._unreachable = str(fault)
            else:
                self._faults[destination] = str(fault)
        self._update()
        if self._again:
            self._again = False
            self.probe_now()
        else:
            self._schedule()

    def answered(self, destination: str, outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of a request."""
        if self._stopped:
            return
        last = outcomes[-1]
        match last:
            case Unreachable():
                self._unreachable = str(last)
            case Missing():
                self._faults[destination] = str(last)
            case OperatorActionRequired():
                self._lasting_faults[destination] = str(last)
            case _:
                self._unreachable = None
                self._faults.pop(destination, None)
                self._lasting_faults.pop(destination, None)
        self._update()
        if isinstance(last, (Unreachable, Missing)) and not self._wanted:
            self._wanted = True
            self._cancel_next()
        self._schedule()

    def _update(self) -> None:
        """Tell the destination: it is ready while no fault is known."""
        if self._unreachable is not None:
            self._destination.not_ready(self._unreachable)
            return
        for destination, fault in (*self._lasting_faults.items(), *self._faults.items()):
            self._destination.not_ready(f"{destination}: {fault}")
            return
        self._destination.ready()

    def _schedule(self) -> None:
        """Have the next probe begin after a pause, where one is needed."""
        if self._unreachable is None and not self._faults:
            self._pause_s = PROBE_INITIAL_S
            self._wanted = False
        elif not self._probing and self._next is None:
            if self._wanted:
                self._pause_s = min(PROBE_WANTED_S, self._pause_s)
            self._next = self._clock.callLater(self._pause_s * self._random.uniform(0.5, 1), self._begin)
            self._pause_s = min(PROBE_MAX_S, self._pause_s * 2)

    def _cancel_next(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _begin(self) -> None:
        self._next = None
        self._probing = True
        self._probe()
