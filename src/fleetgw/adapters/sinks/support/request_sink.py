"""A sink whose service takes requests of many records."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from zope.interface import implementer

from fleetgw.adapters.files.watched import WatchedFiles
from fleetgw.adapters.sinks.support.destination_watch import DestinationWatch
from fleetgw.adapters.sinks.support.lifecycle_sink import LifecycleSink
from fleetgw.adapters.sinks.support.publishers import Publishers
from fleetgw.adapters.sinks.support.request_errors import Unauthenticated, Unreachable
from fleetgw.adapters.sinks.support.requests import Requests
from fleetgw.adapters.sinks.support.results import Burst
from fleetgw.domain.ports import RECEIPT, IHoldsCopies, IPromptDispatcher, IReloadable, ITakesFurtherTypes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from fleetgw.adapters.process.serial_worker import Worker
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.adapters.sinks.support.dispatch import Dispatch
    from fleetgw.adapters.sinks.support.failure_log import FailureLog
    from fleetgw.adapters.sinks.support.publish_metrics import PublishMetrics
    from fleetgw.adapters.sinks.support.publishers import Publisher
    from fleetgw.adapters.sinks.support.vehicle_queues import RequestLimits
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.ports import Outcome
    from fleetgw.domain.records import Record


REMAKE_INTERVAL_S = 30.0
"""Shortest time between two publishers while the service refuses the credentials and no file has changed."""


@implementer(IPromptDispatcher, IReloadable, IHoldsCopies, ITakesFurtherTypes)
class RequestSink(LifecycleSink):
    """Keeps a publisher, probes the destinations, and publishes in requests.

    Making a publisher and probing block, and run on a thread; everything else runs on the reactor's thread. When a file
    with credentials changes, or the service refuses the credentials, another publisher takes over.

    :cvar memory_weight: a request in flight is held as records, as messages and as the bytes of its body, encoded.
    :param timeout_s: longest time of a record from dispatch to outcome.
    :param destinations: destination by record type; has one for further types as well.
    :param failures: logs records that were not taken, and faults that probes find.
    :param make_worker: makes the thread from its name.
    :param credential_files: files that are read when a publisher is made.
    """

    memory_weight = 4.0

    def __init__(
        self,
        context: SinkContext,
        destinations: Mapping[str, str],
        limits: RequestLimits,
        *,
        timeout_s: float,
        metrics: PublishMetrics,
        failures: FailureLog,
        make_worker: Callable[[str], Worker],
        credential_files: Iterable[Path],
    ) -> None:
        super().__init__(context, timeout_s=timeout_s, metrics=metrics)
        random = Random()  # noqa: S311  jitter needs no secrecy
        self._failures = failures
        self._requests = Requests(
            context.reactor,
            destinations,
            limits,
            send=self._send,
            finish=self.finish,
            failures=failures,
            random=random,
        )
        self._destinations = destinations
        self._names = tuple(dict.fromkeys(destinations.values()))
        self._watch = DestinationWatch(context.reactor, self.destination, self._probe, failures, random)
        self._results: Burst[Callable[[], None]] = Burst(context.reactor, _call_all)
        self._publishers = Publishers()
        self._no_publisher = Unreachable("not started")
        self._made_at_s = 0.0
        self._replaces = False  # the next probe makes another publisher
        self._refused = False  # the service has refused the credentials since the last probe
        self._files = WatchedFiles(credential_files)
        self._unread: Sequence[Path] = ()  # changed files that the next publisher reads
        self._make_worker = make_worker
        self._worker: Worker | None = None

    # For a subclass to give

    @abstractmethod
    def make_publisher(self) -> Publisher:
        """Make a publisher; called on the thread, again for the next probe where it fails.

        :raises Unreachable: it cannot be made now.
        """

    def answered(self, records: Sequence[Record], outcomes: Sequence[Outcome]) -> None:
        """Take the outcomes of a request, also of one that no publisher was there for."""

    # The life of a sink

    def open(self) -> None:
        """Begin the first probe."""
        self._worker = self._make_worker(f"fleetgw-{self.name}-watch")
        self._watch.start()

    def deliver(self, dispatch: Dispatch) -> None:
        """Publish records; until the first probe has ended they wait."""
        self._requests.add(dispatch)

    def take_further_types(self, record_types: Collection[str]) -> None:
        """See ``ITakesFurtherTypes``. Further destinations are examined by the next probe."""
        super().take_further_types(record_types)
        self._requests.add_destinations({record_type: self._destinations[record_type] for record_type in record_types})
        self._names = tuple(dict.fromkeys(self._destinations.values()))

    def timed_out(self, dispatch: Dispatch) -> None:
        """See ``LifecycleSink``. Waiting records are not published any more."""
        self._requests.drop(dispatch)
        super().timed_out(dispatch)

    def settled(self, dispatch: Dispatch, outcomes: Sequence[Outcome]) -> None:
        """Count the outcomes, and log those of records that were not taken."""
        super().settled(dispatch, outcomes)
        if outcomes.count(RECEIPT) < len(outcomes):
            for record, outcome in zip(dispatch.batch, outcomes, strict=True):
                if outcome is not RECEIPT:
                    self._failures.add(type(outcome).__name__, str(outcome), record_type=record.record_type)

    def stopping(self) -> None:
        """Probe no more."""
        self._watch.stop()

    def close(self) -> None:
        """Close the publishers, and let the thread end."""
        self._requests.stop()
        self._publishers.close()
        if self._worker is not None:
            self._worker.quit()

    def reload(self) -> Sequence[str]:
        """Replace the publisher, where files with credentials have changed."""
        changed = self._files.changed()
        if changed:
            self._unread = changed
            self._replaces = True
            self._watch.probe_now()
        return [str(path) for path in changed]

    # Requests

    def _send(self, destination: str, records: Sequence[Record], done: Callable[[Sequence[Outcome]], None]) -> None:
        publisher = self._publishers.current

        def take(outcomes: Sequence[Outcome]) -> None:
            self.answered(records, outcomes)
            if RECEIPT in outcomes:
                self.destination.confirmed()
            self._watch.answered(destination, outcomes)
            if publisher is not None:
                if publisher is self._publishers.current and isinstance(outcomes[-1], Unauthenticated):
                    self._refused = True
                self._publishers.answered(publisher)
            done(outcomes)

        def published(outcomes: Sequence[Outcome]) -> None:
            self._results.add(partial(take, outcomes))

        if publisher is None:
            published([self._no_publisher] * len(records))
        else:
            self._publishers.sent(publisher)
            publisher.publish(destination, records, published)

    # Probes

    def _probe(self) -> None:
        """Have the thread probe the destinations, and make another publisher first where that may help."""
        if self._worker is None:
            return
        current = self._publishers.current
        replaces = self._replaces or (self._refused and self._may_be_accepted())
        self._replaces = self._refused = False
        if replaces:
            self._made_at_s = self._context.reactor.seconds()
        self._worker.do(partial(self._probe_on_thread, current, replaces=replaces or current is None))

    def _probe_on_thread(self, current: Publisher | None, *, replaces: bool) -> None:
        made: Publisher | None = None
        error: Unreachable | None = None
        if replaces:
            try:
                made = self.make_publisher()
            except Unreachable as unreachable:
                error = unreachable
        publisher = current if made is None else made
        faults: Mapping[str, DeliveryError | None]
        if publisher is None:
            faults = dict.fromkeys(self._names, error)
        else:
            faults = {name: publisher.fault(name) for name in self._names}
        self._results.add(partial(self._probed, made, error, faults))

    def _probed(self, made: Publisher | None, error: Unreachable | None, faults: Mapping[str, DeliveryError | None]) -> None:
        """Take the result of a probe.

        :param made: another publisher.
        :param error: the reason why none could be made.
        """
        if made is not None:
            self._publishers.use(made)
        if self._closed:
            return
        if error is not None:
            self._no_publisher = error
            if self._publishers.current is not None:
                self._failures.add("credentials", str(error))
                self._files.report_again(self._unread)
        if any(isinstance(fault, Unauthenticated) for fault in faults.values()):
            self._refused = True
        self._watch.probed(faults)
        self._requests.begin()

    def _may_be_accepted(self) -> bool:
        """Whether another publisher may have credentials that the service accepts.

        Without a changed file it is rarely made: the client libraries leave reference cycles behind.
        """
        changed = self._files.changed()
        if changed:
            self._unread = changed
            self._context.log.info("credentials_reloaded", dispatcher=self.name, files=[str(path) for path in changed])
        return bool(changed) or self._context.reactor.seconds() - self._made_at_s >= REMAKE_INTERVAL_S


def _call_all(calls: list[Callable[[], None]]) -> None:
    for call in calls:
        call()
