"""The ports to operators: metrics, log events, error reports, findings of a diagnosis, streams."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.metrics import Metric


class ICounter(Interface):
    """One time series that only grows. May be used in any order, also from within other ports' methods."""

    def add(amount: int) -> None:
        """Add to the series. Called on the hot path: costs about as much as an attribute.

        :param amount: at least 0; not checked.
        """


class IGauge(Interface):
    """One time series that goes up and down."""

    def set_to(value: float) -> None:
        """Set the current value, in the unit that the metric's name gives. Ends ``measured_by``."""

    def add(amount: int) -> None:
        """Add to the value; a negative amount makes it smaller. Called on the hot path, as ``ICounter.add`` is."""

    def measured_by(measure: Callable[[], float]) -> None:
        """Until the next ``set_to``, the value is the answer of ``measure``, which is called for each export.

        :param measure: quick, never raises. A later one takes its place.
        """


class IHistogram(Interface):
    """One distribution of values, counted in the metric's buckets."""

    def observe(value: float, count: int = 1) -> None:
        """Count ``count`` equal values. Called for batches on the hot path: costs a search among the buckets.

        :param value: in the unit that the metric's name gives; finite, at least 0.
        :param count: at least 0; neither is checked.
        """


class IMetrics(Interface):
    """The store of metrics. A caller on the hot path looks its series up once and keeps them.

    Methods may be called in any order, from the first record on until the process ends.
    """

    def counter(metric: Metric, **labels: str) -> ICounter:
        """Look a counter up; the same labels give the same counter. The first look-up makes it, with the value 0.

        :param labels: a value for each of the metric's labels, from a bounded set: a series is never removed.
        :raises ValueError: the metric is no counter, or the labels are not the metric's.
        """

    def gauge(metric: Metric, **labels: str) -> IGauge:
        """Look a gauge up, as ``counter`` does a counter.

        :raises ValueError: the metric is no gauge, or the labels are not the metric's.
        """

    def histogram(metric: Metric, **labels: str) -> IHistogram:
        """Look a histogram up, as ``counter`` does a counter.

        :raises ValueError: the metric is no histogram, or the labels are not the metric's.
        """


class ILog(Interface):
    """The log of events that an operator reads. Writing never blocks and never raises."""

    debug_enabled = Attribute("Whether ``debug`` events are written, a bool: lets a hot path skip making them.")
    info_enabled = Attribute("Whether ``info`` events are written, a bool.")

    def debug(event: str, **fields: object) -> None:
        """Write an event for developers.

        :param event: a name in snake_case, such as ``socket_connected``; of a bounded set.
        :param fields: values that JSON can hold; others are written as their ``repr``.
        """

    def info(event: str, **fields: object) -> None:
        """Write an event of normal operation; arguments as for ``debug``."""

    def warn(event: str, **fields: object) -> None:
        """Write an event that an operator should see some time; arguments as for ``debug``."""

    def error(event: str, **fields: object) -> None:
        """Write an event that an operator should see now; arguments as for ``debug``, an exception as ``error=str(e)``."""


class IErrorReporter(Interface):
    """Reports errors to a service, besides the log. Its life: ``start`` once, ``stop`` once; ``report`` at any time."""

    def start() -> Deferred[None]:
        """Begin to send reports, first those of errors that are queued already. Called once.

        :return: fires with None at once, whether or not the service can be reached. Never fails.
        """

    def report(event: str, fields: Mapping[str, object]) -> None:
        """Queue an error event. Never blocks and never raises; may be called on any thread, and before ``start``.

        The queue is bounded. Like errors may become one report with their count; errors after ``stop`` are dropped.

        :param event: as ``ILog.error`` is given it.
        :param fields: as ``ILog.error`` is given them; copied.
        """

    def stop() -> Deferred[None]:
        """Flush the queued reports, then end. Called once, after ``start``.

        :return: fires with None when the reports are sent, within a bounded time. Never fails. Cancelling it drops the
            reports; it then fires with None.
        """


class Verdict(Enum):
    """The meaning of a finding for the operator."""

    GOOD = "ok"
    WORTH_A_LOOK = "warning"
    WILL_NOT_WORK = "problem"


@frozen
class Finding:
    """One fact about a destination or a certificate.

    :ivar what: the fact, for the operator; holds no secret.
    :ivar fix: the remedy, empty where none is needed.
    """

    verdict: Verdict
    what: str
    fix: str = ""


class IDiagnosable(Interface):
    """Examines a destination. Optional for a sink; ``fleetgw doctor`` calls it instead of starting the sink."""

    def diagnose() -> Deferred[Sequence[Finding]]:
        """Examine the destination, and leave nothing behind there. Called at most once, on a sink that is never started.

        :return: fires with the findings, in the order of the checks. Never fails. Cancelling it fires it at once with the
            findings so far.
        """


class IStreamReader(Interface):
    """One client of a stream of chunks: the lines of a trace, the records of a tap, the events of a page."""

    def write(chunk: bytes) -> bool:
        """Send a chunk; never blocks.

        :param chunk: whole lines, or a whole event: what is dropped leaves no part of one.
        :return: False when the client is too slow for it, or has left: the chunk is dropped.
        """

    def end() -> None:
        """End the stream after the chunks written so far. Does nothing when it has ended."""
