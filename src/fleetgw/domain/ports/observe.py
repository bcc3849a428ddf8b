"""The ports to operators: metrics, log events, findings of a diagnosis."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen
from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from twisted.internet.defer import Deferred

    from fleetgw.domain.metrics import Metric


class ICounter(Interface):
    """One time series that only grows."""

    def add(amount: int) -> None:
        """Add ``amount`` >= 0. Costs about as much as an attribute; called on the hot path."""


class IGauge(Interface):
    """One time series that goes up and down."""

    def set_to(value: float) -> None:
        """Set the current value."""


class IMetrics(Interface):
    """Where numbers go. The hot path's series are looked up once and kept; those of rare events each time."""

    def counter(metric: Metric, **labels: str) -> ICounter:
        """The counter of ``metric`` with exactly the metric's labels; the same labels give the same counter.

        The caller takes label values from a closed set: a series is never forgotten.

        :raises ValueError: the metric is no counter, or the labels are not the metric's.
        """

    def gauge(metric: Metric, **labels: str) -> IGauge:
        """As ``counter``, for gauges."""


class ILog(Interface):
    """Where events go that an operator reads. Writing never blocks and never raises."""

    debug_enabled = Attribute("Whether ``debug`` events are written, a bool: lets a hot path skip making them.")
    info_enabled = Attribute("Whether ``info`` events are written, a bool.")

    def debug(event: str, **fields: object) -> None:
        """Write an event for developers. ``event`` is a snake_case name, e.g. ``socket_connected``; fields are JSON-able."""

    def info(event: str, **fields: object) -> None:
        """Write an event of normal operation."""

    def warn(event: str, **fields: object) -> None:
        """Write an event that somebody should look at some time."""

    def error(event: str, **fields: object) -> None:
        """Write an event that somebody should look at now. Pass an exception as ``error=str(e)``."""


class IErrorReporter(Interface):
    """A service that errors are reported to, besides the log."""

    def start() -> Deferred[None]:
        """Begin to report, with the errors that have been handed over already. Fires at once; the server may be down."""

    def report(event: str, fields: Mapping[str, object]) -> None:
        """Report an error event, as ``ILog.error`` is given it. Never blocks, never raises; may be called on any thread.

        Like errors may become one report with their number.
        """

    def stop() -> Deferred[None]:
        """Report the errors that wait, in a bounded time, and end. Called once, after ``start``. Never fails.

        Cancelling it gives up on them. Errors that come later are dropped.
        """


class Verdict(Enum):
    """The meaning of a finding for the operator."""

    GOOD = "ok"
    WORTH_A_LOOK = "warning"
    WILL_NOT_WORK = "problem"


@frozen
class Finding:
    """One fact about a destination or a certificate.

    :ivar what: the fact, for people; holds no secret.
    :ivar fix: the remedy, empty where none is needed.
    """

    verdict: Verdict
    what: str
    fix: str = ""


class IDiagnosable(Interface):
    """Makes a diagnosis. Optional for a sink; ``fleetgw doctor`` asks for it in place of starting the sink."""

    def diagnose() -> Deferred[Sequence[Finding]]:
        """Look at the destination, and leave nothing behind there.

        Called at most once, on a sink that is never started.

        :return: fires with the findings, in the order of the checks; never fails. Cancelling it fires it at once with the
            findings so far.
        """
