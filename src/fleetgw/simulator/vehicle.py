"""One vehicle of the simulated fleet: keeps a connection open and issues records about its drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError

from fleetgw.simulator.connection import VehicleConnection, over_tls
from fleetgw.simulator.conversation import NotOpened, Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime, IStreamClientEndpoint
    from twisted.python.failure import Failure

    from fleetgw.simulator.conversation import Conversation, Event
    from fleetgw.simulator.outbox import Outbox
    from fleetgw.simulator.payloads import DriveReporter
    from fleetgw.simulator.tls import ClientTls

OPENING_TIMEOUT_S = 20.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0


class SimulatedVehicle:
    """A vehicle that reconnects after every lost connection, with backoff, until it is stopped.

    :param vin: its name in the tally.
    :param endpoint: connects to the gateway by TCP; TLS is added to it.
    :param outbox: the conversation's.
    :param listener: called with ``vin`` and the events of each step.
    :param random: the jitter of the backoff.
    """

    def __init__(
        self,
        *,
        vin: str,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        tls: ClientTls,
        conversation: Conversation,
        outbox: Outbox,
        reporter: DriveReporter,
        listener: Callable[[str, Sequence[Event]], None],
        random: Random,
    ) -> None:
        self.vin = vin
        self.has_opened = False
        self._reactor = reactor
        self._endpoint = endpoint
        self._tls = tls
        self._conversation = conversation
        self._outbox = outbox
        self._reporter = reporter
        self._listener = listener
        self._random = random
        self._retry_s = FIRST_RETRY_S
        self._stopped: Deferred[None] | None = None
        self._connecting: Deferred[IProtocol] | None = None
        self._connection: VehicleConnection | None = None
        self._timer: IDelayedCall | None = None

    @property
    def unacked(self) -> int:
        """Number of unacknowledged records."""
        return len(self._outbox)

    def start(self) -> None:
        """Connect, and reconnect after each loss."""
        connection = VehicleConnection(self._conversation, self._reactor, self._take_events, self._lost)
        self._connection = connection
        self._set_timer(OPENING_TIMEOUT_S, self._give_up_opening)
        self._connecting = self._endpoint.connect(over_tls(connection, self._tls, self._reactor))
        self._connecting.addCallbacks(self._tcp_connected, self._tcp_failed)

    def report(self, record_type: str, now_epoch_ns: int) -> bool:
        """Issue one record about the drive; False when the outbox is full, and no record was issued."""
        if self._outbox.full:
            return False
        payload = self._reporter.payload(record_type, now_epoch_ns)
        now_s, now_epoch_s = self._reactor.seconds(), now_epoch_ns // 1_000_000_000
        _, output = self._conversation.issue(record_type, payload, now_s, now_epoch_s)
        if self._connection is None:
            self._take_events(output.events)
        else:
            self._connection.apply(output)
        return True

    def resend_overdue(self) -> None:
        """Send records again that have waited too long for their answers."""
        if self._connection is not None:
            self._connection.apply(self._conversation.resend_overdue(self._reactor.seconds()))

    def stop(self) -> Deferred[None]:
        """Close the connection and open no other. Fires when it is closed; call ``abort`` to close it at once."""
        stopped = self._stopped = Deferred()
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._connection is not None:
            self._connection.close()
        else:
            self._clear_timer()
            stopped.callback(None)
        return stopped

    def abort(self) -> None:
        """Drop the connection, if there is one, without a closing handshake."""
        if self._connection is not None and self._connecting is None:
            self._connection.abort()

    def _take_events(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Opened):
                self.has_opened = True
                self._retry_s = FIRST_RETRY_S
                self._clear_timer()
        self._listener(self.vin, events)

    def _tcp_connected(self, _protocol: IProtocol) -> None:
        self._connecting = None

    def _tcp_failed(self, reason: Failure) -> None:
        self._connecting = None
        cancelled = isinstance(reason.value, CancelledError | ConnectingCancelledError)
        if not (cancelled and self._stopped is not None):
            self._listener(self.vin, [NotOpened(0, "timed out" if cancelled else reason.getErrorMessage())])
        self._lost()

    def _give_up_opening(self) -> None:
        self._timer = None
        if self._connecting is not None:
            self._connecting.cancel()
        elif self._connection is not None:
            self._connection.abort()

    def _lost(self) -> None:
        self._connection = None
        self._clear_timer()
        if self._stopped is not None:
            self._stopped.callback(None)
            return
        self._set_timer(self._retry_s * self._random.uniform(0.5, 1.0), self.start)
        self._retry_s = min(LONGEST_RETRY_S, self._retry_s * 2)

    def _set_timer(self, delay_s: float, call: Callable[[], None]) -> None:
        self._clear_timer()
        self._timer = self._reactor.callLater(delay_s, call)

    def _clear_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
