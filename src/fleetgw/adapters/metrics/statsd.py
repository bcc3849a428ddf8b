"""Exports the store of series over UDP to a StatsD server, once every flush period."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from fleetgw.adapters.metrics.statsd_lines import StatsdLines, datagrams

if TYPE_CHECKING:
    from fleetgw.adapters.metrics.store import MetricStore
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.ports import ILog


GAUGE_INTERVAL_S = 10.0
"""Longest time between two lines of a gauge, changed or not: servers may expire gauges."""

RESOLVE_INTERVAL_S = 60.0
"""Time between two look-ups of the server's name."""

RECOVERED_AFTER_S = 30.0
"""Time without a failed datagram after which the server counts as back: UDP has no other sign of it. Three flush periods
when these are longer: a server that is down refuses every other datagram."""


@frozen
class StatsdSettings:
    """Destination and rate.

    :ivar prefix: of every name, used as it is, such as ``fleet.``.
    :ivar sample_rate: the probability, above 0 and at most 1, that a flush sends a counter's increment.
    """

    host: str
    port: int
    prefix: str = ""
    sample_rate: float = 1.0
    flush_period_s: float = 0.1


class StatsdExporter:
    """Sends the numbers of a store every flush period.

    The first failure to reach a server is logged, and so is its return. Sending goes on meanwhile.
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
        self._resolving = False
        self._resolved_s = self._gauges_sent_s = -math.inf
        self._failed_s: float | None = None

    def start(self) -> Deferred[None]:
        """Begin to send. Fires at once; never fails."""
        settings = self._settings
        self._log.info("new_statsd_client", host=settings.host, port=settings.port, prefix=settings.prefix)
        self._timer.start(settings.flush_period_s, now=False)
        self._resolve()
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Send the last numbers and end. Fires at once; never fails."""
        if self._timer.running:
            self._timer.stop()
            self._flush()
            self._close()
        return succeed(None)

    def _flush(self) -> None:
        now = self._reactor.seconds()
        if now - self._resolved_s >= RESOLVE_INTERVAL_S:
            self._resolve()
        if self._socket is None:
            return
        every_gauge = now - self._gauges_sent_s >= GAUGE_INTERVAL_S
        if every_gauge:
            self._gauges_sent_s = now
        for datagram in datagrams(self._lines.flush(self._store, every_gauge=every_gauge)):
            try:
                self._socket.send(datagram)
            except BlockingIOError:
                pass  # the kernel's buffer is full: the datagram is lost, as UDP allows
            except OSError as error:
                self._failed(error)
        quiet_s = max(RECOVERED_AFTER_S, 3 * self._settings.flush_period_s)
        if self._failed_s is not None and now - self._failed_s >= quiet_s:
            self._failed_s = None
            self._log.info("statsd_reached", host=self._settings.host, port=self._settings.port)

    def _failed(self, error: Exception) -> None:
        if self._failed_s is None:
            reason = str(error)
            self._log.warn("statsd_not_reached", host=self._settings.host, port=self._settings.port, error=reason)
        self._failed_s = self._reactor.seconds()

    def _resolve(self) -> None:
        """Look the name up, unless a look-up is under way: name servers that hang must not fill the thread pool."""
        if not self._resolving:
            self._resolving = True
            self._resolved_s = self._reactor.seconds()
            self._reactor.callInThread(self._connect)

    def _connect(self) -> None:
        """Make a socket; in a thread, because a look-up blocks."""
        try:
            connected = _connected(self._settings.host, self._settings.port)
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that no host can have
            self._reactor.callFromThread(self._not_resolved, error)
        else:
            self._reactor.callFromThread(self._use, connected)

    def _not_resolved(self, error: Exception) -> None:
        self._resolving = False
        if self._socket is None:  # else the known address stays in use
            self._failed(error)

    def _use(self, connected: socket.socket) -> None:
        self._resolving = False
        if not self._timer.running:  # stopped meanwhile
            connected.close()
            return
        self._close()
        self._socket = connected

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _connected(host: str, port: int) -> socket.socket:
    (family, kind, protocol, _, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    connected = socket.socket(family, kind, protocol)
    try:
        connected.settimeout(0)
        connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected
