"""The store of series as StatsD lines over UDP, sent every flush period."""

from __future__ import annotations

import math
import random
import re
import socket
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from fleetgw.domain.metrics import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.metrics import Metric
    from fleetgw.domain.ports import ILog


DATAGRAM_BYTES = 1432
"""Bytes of a datagram: it fits into one Ethernet frame with every header. A longer line has a datagram of its own."""

GAUGES_AGAIN_S = 10.0
"""A gauge is sent when it changes, and this often: servers may forget gauges that they do not hear of."""

RESOLVE_AGAIN_S = 60.0
"""How often the server's name is looked up."""

RECOVERED_AFTER_S = 30.0
"""Time without a refused datagram after which the server counts as back: UDP has no other sign of it."""

_SEPARATORS = re.compile(r"[\s,=:|@#;]")


@frozen
class StatsdSettings:
    """Destination and pace.

    :ivar prefix: stands before every name as it is, such as ``fleet.``.
    :ivar sample_rate: the probability, above 0 and at most 1, that a flush sends a counter's increment.
    """

    host: str
    port: int
    prefix: str = ""
    sample_rate: float = 1.0
    flush_period_s: float = 0.1


class StatsdLines:
    """Turns snapshots into lines: the increments of counters, and gauges that have changed.

    Tags stand in the name, as the Go server writes them (the format of InfluxDB): ``prefix.name,label=value:1|c``.
    """

    def __init__(self, prefix: str, sample_rate: float = 1.0, draw: Callable[[], float] = random.random) -> None:
        self._prefix = prefix
        self._sample_rate = sample_rate
        self._sample_mark = f"|@{sample_rate:g}" if sample_rate < 1 else ""
        self._draw = draw
        self._names: dict[tuple[str, tuple[str, ...]], str] = {}
        self._sent: dict[tuple[str, tuple[str, ...]], float] = {}

    def flush(self, store: MetricStore, *, every_gauge: bool) -> Iterator[bytes]:
        """The lines since the last flush; ``every_gauge``: those gauges, too, that have not changed."""
        for family in store.snapshot():
            metric = family.metric
            is_gauge = metric.kind is Kind.GAUGE
            for values, number in family.series.items():
                key = metric.name, values
                before = self._sent.get(key)
                if number == (before or 0) and not (is_gauge and (before is None or every_gauge)):
                    continue
                self._sent[key] = number
                name = self._names.get(key) or self._names.setdefault(key, _name(self._prefix, metric, values))
                if is_gauge:
                    yield from _gauge_lines(name, number)
                elif self._sample_rate >= 1 or self._draw() < self._sample_rate:
                    yield f"{name}:{number - (before or 0)}|c{self._sample_mark}".encode()


def _name(prefix: str, metric: Metric, values: tuple[str, ...]) -> str:
    tags = "".join(f",{name}={_SEPARATORS.sub('_', value)}" for name, value in zip(metric.labels, values, strict=True))
    # A label that was no UTF-8 carries surrogates.
    return f"{prefix}{metric.name}{tags}".encode("utf-8", "replace").decode()


def _gauge_lines(name: str, number: float) -> Iterator[bytes]:
    if not math.isfinite(number):
        return  # StatsD has no such numbers
    if number < 0:
        yield f"{name}:0|g".encode()  # a sign makes it a change of the gauge
    yield f"{name}:{number}|g".encode()


def datagrams(lines: Iterable[bytes], size_bytes: int = DATAGRAM_BYTES) -> Iterator[bytes]:
    """Join lines by line feeds into datagrams of at most ``size_bytes``."""
    joined = b""
    for line in lines:
        if joined and len(joined) + 1 + len(line) > size_bytes:
            yield joined
            joined = b""
        joined = joined + b"\n" + line if joined else line
    if joined:
        yield joined


class StatsdExporter:
    """Sends the numbers of a store every flush period.

    A server that is down, or whose name is unknown, is logged once, and so is its return. Sending goes on meanwhile.
    """

    def __init__(self, store: MetricStore, settings: StatsdSettings, reactor: IThreadedReactor, log: ILog) -> None:
        self._store = store
        self._settings = settings
        self._reactor = reactor
        self._log = log
        self._lines = StatsdLines(settings.prefix, settings.sample_rate)
        self._timer = LoopingCall(self._flush)
        self._timer.clock = reactor
        self._socket: socket.socket | None = None
        self._looked_up_s = self._every_gauge_s = -math.inf
        self._failed_s: float | None = None

    def start(self) -> Deferred[None]:
        """Begin to send. Fires at once; never fails."""
        settings = self._settings
        self._log.info("new_statsd_client", host=settings.host, port=settings.port, prefix=settings.prefix)
        self._timer.start(settings.flush_period_s, now=False)
        self._look_up()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Send the last numbers and end. Fires at once; never fails."""
        if self._timer.running:
            self._timer.stop()
            self._flush()
            self._replace_socket(None)
        return succeed(None)

    def _flush(self) -> None:
        now = self._reactor.seconds()
        if now - self._looked_up_s >= RESOLVE_AGAIN_S:
            self._look_up()
        if self._socket is None:
            return
        every_gauge = now - self._every_gauge_s >= GAUGES_AGAIN_S
        if every_gauge:
            self._every_gauge_s = now
        for datagram in datagrams(self._lines.flush(self._store, every_gauge=every_gauge)):
            try:
                self._socket.send(datagram)
            except BlockingIOError:
                pass  # the kernel's buffer is full: the datagram is lost, as UDP's may be
            except OSError as error:
                self._failed(error)
        if self._failed_s is not None and now - self._failed_s >= RECOVERED_AFTER_S:
            self._failed_s = None
            self._log.info("statsd_reached", host=self._settings.host, port=self._settings.port)

    def _failed(self, error: OSError) -> None:
        if self._failed_s is None:
            why = str(error)
            self._log.warn("statsd_not_reached", host=self._settings.host, port=self._settings.port, error=why)
        self._failed_s = self._reactor.seconds()

    def _look_up(self) -> None:
        self._looked_up_s = self._reactor.seconds()
        self._reactor.callInThread(self._connect)

    def _connect(self) -> None:
        """Make the socket; in a thread, as looking up a name blocks."""
        try:
            made = _connected(self._settings.host, self._settings.port)
        except OSError as error:
            self._reactor.callFromThread(self._look_up_failed, error)
        else:
            self._reactor.callFromThread(self._replace_socket, made)

    def _look_up_failed(self, error: OSError) -> None:
        if self._socket is None:  # else the address that is known goes on being used
            self._failed(error)

    def _replace_socket(self, made: socket.socket | None) -> None:
        if made is not None and not self._timer.running:
            made.close()  # stopped meanwhile
            return
        if self._socket is not None:
            self._socket.close()
        self._socket = made


def _connected(host: str, port: int) -> socket.socket:
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    made = socket.socket(family, kind, protocol)
    try:
        made.settimeout(0)
        made.connect(address)
    except OSError:
        made.close()
        raise
    return made
