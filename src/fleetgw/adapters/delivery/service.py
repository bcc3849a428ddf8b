"""Delivery to a service that takes requests, from start to stop: all but what is said to the service."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.delivery.requests import Requests
from fleetgw.adapters.delivery.results import Burst
from fleetgw.adapters.delivery.watch import DestinationWatch, Unreachable
from fleetgw.domain.errors import NotConnected, Retryable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleetgw.adapters.delivery.failure_log import FailureLog
    from fleetgw.adapters.delivery.numbers import PublishNumbers
    from fleetgw.adapters.delivery.vehicle_queues import RequestLimits
    from fleetgw.adapters.serial_worker import Worker
    from fleetgw.adapters.sinks.context import SinkContext
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record


class Publisher(Protocol):
    """A connection to a service. No method raises."""

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """Publish records in one request, in order; does not block.

        :param done: to be called once, on any thread, with one outcome per record.
        """

    def fault(self, destination: str) -> DeliveryError | None:
        """What is wrong with a destination, as far as we may look, or None; may block."""

    def close(self) -> None:
        """Let go of the connection; what is under way is done with."""


class ServiceDelivery:
    """Keeps a publisher, looks at the destinations and publishes in requests.

    Making the publisher and asking it for faults is the watcher's, a thread. All else is on the reactor's.

    :param title: the service's name, for people.
    :param make_publisher: may block; raises ``Unreachable`` when it cannot, and is called again for the next look.
    :param answered: told how each request fared, also where there was no publisher for it.
    """

    def __init__(
        self,
        context: SinkContext,
        title: str,
        make_publisher: Callable[[], Publisher],
        destinations: Mapping[str, str],
        limits: RequestLimits,
        *,
        numbers: PublishNumbers,
        failures: FailureLog,
        answered: Callable[[Sequence[Record], Sequence[Outcome]], None] | None = None,
    ) -> None:
        self._make_publisher = make_publisher
        self._answered = answered
        self._not_running = NotConnected(f"the {title} sink is not running")
        self._given_up = Retryable(f"the sink stopped before {title} answered")
        random = Random()  # noqa: S311  jitter needs no secrecy
        self._requests = Requests(
            context.reactor,
            self,
            destinations,
            limits,
            numbers=numbers,
            failures=failures,
            random=random,
        )
        self._destinations = tuple(dict.fromkeys(destinations.values()))
        self._watch = DestinationWatch(context.reactor, self._look, failures, random)
        self._results: Burst[Callable[[], None]] = Burst(context.reactor, _call_all)
        self._publisher: Publisher | Unreachable = Unreachable("not started")
        self._watcher: Worker | None = None
        self._stopped: Deferred[None] | None = None

    def start(self, watcher: Worker) -> None:
        """Begin the first look.

        :param watcher: quits when stopped.
        """
        self._watcher = watcher
        self._watch.start()

    def dispatch(self, batch: Sequence[Record]) -> Deferred[Sequence[Outcome]]:
        """See ``IDispatcher.dispatch``. Records wait for the first look."""
        if self._watcher is None or self._stopped is not None:
            return succeed([self._not_running] * len(batch))
        return self._requests.dispatch(batch)

    def stop(self) -> Deferred[None]:
        """See ``IDispatcher.stop``. Takes no longer than a record may."""
        self._stopped = Deferred(lambda _: self._requests.give_up(self._given_up))
        self._watch.stop()
        self._requests.settled().addCallback(self._release)
        return self._stopped

    def readiness(self) -> Readiness:
        """By the last look at the destinations, and the last answers."""
        return self._watch.readiness()

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Courier``."""

        def take(outcomes: Sequence[Outcome]) -> None:
            if self._answered is not None:
                self._answered(records, outcomes)
            self._watch.answered(destination, outcomes)
            done(outcomes)

        def published(outcomes: Sequence[Outcome]) -> None:
            self._results.add(partial(take, outcomes))

        if isinstance(self._publisher, Unreachable):
            published([self._publisher] * len(records))
        else:
            self._publisher.publish(destination, records, published)

    def _look(self) -> None:
        publisher = self._publisher

        def look() -> None:
            try:
                found = self._make_publisher() if isinstance(publisher, Unreachable) else publisher
            except Unreachable as error:
                self._results.add(partial(self._looked, error, dict.fromkeys(self._destinations, error)))
            else:
                findings = {destination: found.fault(destination) for destination in self._destinations}
                self._results.add(partial(self._looked, found, findings))

        if self._watcher is not None:
            self._watcher.do(look)

    def _looked(self, publisher: Publisher | Unreachable, findings: Mapping[str, DeliveryError | None]) -> None:
        self._publisher = publisher
        if self._stopped is not None and self._stopped.called:
            self._close()
            return
        self._watch.looked(findings)
        self._requests.begin()

    def _release(self, _: None) -> None:
        if self._watcher is not None:
            self._watcher.quit()
        self._close()
        if self._stopped is not None:
            self._stopped.callback(None)

    def _close(self) -> None:
        if not isinstance(self._publisher, Unreachable):
            self._publisher.close()


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
