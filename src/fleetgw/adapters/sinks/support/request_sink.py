"""Delivery to a service that takes requests, from start to stop: all but what is said to the service."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.sinks.support.destination_watch import DestinationWatch, Unauthenticated, Unreachable
from fleetgw.adapters.sinks.support.requests import Requests
from fleetgw.adapters.sinks.support.results import Burst
from fleetgw.domain.errors import NotConnected, Retryable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.adapters.sinks.support.numbers import PublishNumbers
    from fleetgw.adapters.sinks.support.serial_worker import Worker
    from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome, Readiness
    from fleetgw.domain.records import Record


REMAKE_INTERVAL_S = 30.0
"""How often another publisher is made while the service refuses our credentials and no file has changed."""


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
    :param credential_files: what making a publisher reads. When they change, or the service refuses our credentials, another
        publisher is made; the old one is closed once it has answered everything.
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
        credential_files: Iterable[Path] = (),
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
        self._connection: _Connection | None = None
        self._unreachable = Unreachable("not started")  # why there is none
        self._clock = context.reactor
        self._made_at_s = 0.0
        self._reloads = False  # the next look makes another
        self._refused = False  # it does where that may help
        self._rereading: Sequence[Path] = ()
        self._name = context.name
        self._log = context.log
        self._failures = failures
        self._files = WatchedFiles(credential_files)
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

    def reload(self) -> Sequence[str]:
        """See ``IReloadable``: another publisher reads the files; the old one ends what is under way."""
        changed = self._files.changed()
        if changed:
            self._rereading = changed
            self._reloads = True
            self._watch.look_now()
        return [str(path) for path in changed]

    def send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Courier``."""
        connection = self._connection

        def take(outcomes: Sequence[Outcome]) -> None:
            if self._answered is not None:
                self._answered(records, outcomes)
            self._watch.answered(destination, outcomes)
            if connection is not None:
                connection.answered()
                if connection is self._connection and isinstance(outcomes[-1], Unauthenticated):
                    self._refused = True
            done(outcomes)

        def published(outcomes: Sequence[Outcome]) -> None:
            self._results.add(partial(take, outcomes))

        if connection is None:
            published([self._unreachable] * len(records))
        else:
            connection.publish(destination, records, published)

    def _look(self) -> None:
        if self._watcher is not None:
            anew = self._reloads or (self._refused and self._reads_again())
            self._reloads = self._refused = False
            if anew:
                self._made_at_s = self._clock.seconds()
            self._watcher.do(partial(self._look_on_thread, None if anew else self._connection, self._connection))

    def _look_on_thread(self, kept: _Connection | None, before: _Connection | None) -> None:
        """Look at the destinations.

        :param kept: the connection to go on with; None to make another.
        :param before: what to go on with where none can be made.
        """
        found = kept
        trouble: Unreachable | None = None
        if found is None:
            try:
                found = _Connection(self._make_publisher())
            except Unreachable as error:
                found, trouble = before, error
        if found is None:
            reason = trouble or self._unreachable
            findings: Mapping[str, DeliveryError | None] = dict.fromkeys(self._destinations, reason)
        else:
            findings = {destination: found.publisher.fault(destination) for destination in self._destinations}
        self._results.add(partial(self._looked, found, trouble, findings))

    def _looked(
        self, connection: _Connection | None, trouble: Unreachable | None, findings: Mapping[str, DeliveryError | None]
    ) -> None:
        if trouble is not None:
            self._unreachable = trouble
            if connection is not None:  # the old one, as the new files cannot be used
                self._failures.add("credentials", str(trouble))
                self._files.report_again(self._rereading)
        before, self._connection = self._connection, connection
        if before is not None and before is not connection:
            before.retire()
        if self._stopped is not None and self._stopped.called:
            self._close()
            return
        if any(isinstance(error, Unauthenticated) for error in findings.values()):
            self._refused = True
        self._watch.looked(findings)
        self._requests.begin()

    def _reads_again(self) -> bool:
        """Whether to make another publisher because the service has refused our credentials: they may be others now.

        Where no file has changed, seldom: the clients of these services leave much behind for the collector.
        """
        changed = self._files.changed()
        if changed:
            self._rereading = changed
            self._log.info("credentials_reloaded", dispatcher=self._name, files=[str(path) for path in changed])
        return bool(changed) or self._clock.seconds() - self._made_at_s >= REMAKE_INTERVAL_S

    def _release(self, _: None) -> None:
        if self._watcher is not None:
            self._watcher.quit()
        self._close()
        if self._stopped is not None:
            self._stopped.callback(None)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.publisher.close()


class _Connection:
    """A publisher, which is closed once it is retired and has answered everything."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self._requests = 0
        self._retired = False

    def publish(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        """See ``Publisher``."""
        self._requests += 1
        self.publisher.publish(destination, records, done)

    def answered(self) -> None:
        """A request has been answered."""
        self._requests -= 1
        self._close_when_done()

    def retire(self) -> None:
        """There will be no further request."""
        self._retired = True
        self._close_when_done()

    def _close_when_done(self) -> None:
        if self._retired and not self._requests:
            self.publisher.close()


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
