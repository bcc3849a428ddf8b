"""Doubles for the context of a sink under test: a reactor without threads, readable metrics, a readable log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any  # Any: as in Twisted's interfaces

from attrs import define, field
from twisted.internet.task import Clock
from zope.interface import implementer

from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.adapters.sinks.support.context import ISinkReactor
from fleetgw.domain.ports import ILog
from fleetgw.domain.records import PeerIdentity, Record, Vehicle

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.threadpool import ThreadPool

    from fleetgw.domain.distribution import Distribution


@implementer(ISinkReactor)
class ThreadlessReactor(Clock):
    """A clock that a test advances. Calls "from a thread" run at the next ``advance``."""

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:  # noqa: A002 as in Twisted
        """Run ``callable`` at the next ``advance``, also of 0 s."""
        self.callLater(0, callable, *args, **kwargs)

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:  # noqa: A002 as in Twisted
        """Run ``callable`` at once, in the only thread."""
        callable(*args, **kwargs)

    def getThreadPool(self) -> ThreadPool:
        """Fail: there is no thread pool."""
        raise NotImplementedError

    def suggestThreadPoolSize(self, size: int) -> None:
        """Do nothing: there is no thread pool."""


class ReadableMetrics(MetricStore):
    """Metrics whose values a test can read."""

    def value(self, name: str, *label_values: str) -> float:
        """The value of a time series; 0 when nothing has looked it up.

        :param label_values: in the order of the metric's labels.
        """
        series = (family.series for family in self.snapshot() if family.metric.name == name)
        return next(series, {}).get(label_values, 0)

    def distribution(self, name: str, *label_values: str) -> Distribution:
        """The values of a histogram, which must be there; labels as for ``value``."""
        (family,) = (family for family in self.snapshot() if family.metric.name == name)
        return family.distributions[label_values]


@implementer(ILog)
@define
class ReadableLog:
    """A log that a test can read.

    :ivar entries: level, event and fields of each event, oldest first.
    """

    debug_enabled = True
    info_enabled = True

    entries: list[tuple[str, str, dict[str, object]]] = field(factory=list)

    def debug(self, event: str, **fields: object) -> None:
        """See ``ILog``."""
        self.entries.append(("debug", event, fields))

    def info(self, event: str, **fields: object) -> None:
        """See ``ILog``."""
        self.entries.append(("info", event, fields))

    def warn(self, event: str, **fields: object) -> None:
        """See ``ILog``."""
        self.entries.append(("warn", event, fields))

    def error(self, event: str, **fields: object) -> None:
        """See ``ILog``."""
        self.entries.append(("error", event, fields))

    def fields_of(self, event: str) -> list[dict[str, Any]]:  # Any: tests look into fields that are JSON
        """The fields of each event of that name, oldest first."""
        return [fields for _, name, fields in self.entries if name == event]


def make_record(
    vin: str = "5YJ3E1EA7KF000001",
    txid: str = "tx-1",
    *,
    record_type: str = "V",
    payload: bytes = b"payload",
    device_client_version: str = "1.2.0",
    received_at_ms: int = 1_700_000_000_000,
    content: object = None,
) -> Record:
    """Make a record as sinks get it, without decoded content unless it is given."""
    vehicle = Vehicle(PeerIdentity("vehicle_device", vin), vin, f"connection-of-{vin}", device_client_version)
    return Record(record_type, txid.encode("utf-8", "surrogateescape"), vehicle, payload, received_at_ms, content, 0)
