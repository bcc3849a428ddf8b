"""Admission of CURVE clients: our side of ZAP (https://rfc.zeromq.org/spec/27), on the reactor's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from fleetgw.domain.line_limit import LineLimit

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from fleetgw.adapters.sinks.zmq.settings import CurveKeys
    from fleetgw.domain.ports import ILog

_ENDPOINT = "inproc://zeromq.zap.01"
_VERSION = b"1.0"

LOGGED_KEYS = 10
"""Refused keys with a log line of their own in one interval of ``LineLimit``; further ones share a line."""


class Admission:
    """Answers the library's ZAP request for every client that connects.

    :param context: of the guarded socket; requests stay within it.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: CurveKeys, log: ILog, clock: IReactorTime) -> None:
        self._keys = keys
        self._log = log
        self._clock = clock
        self._lines = LineLimit(max_tracked=LOGGED_KEYS - 1)
        self._requests = context.socket(zmq.REP)
        self._requests.setsockopt(zmq.LINGER, 0)
        self._requests.bind(_ENDPOINT)

    def guard(self, server: zmq.Socket[bytes]) -> None:
        """Turn CURVE on for a socket that is not bound yet."""
        server.setsockopt(zmq.ZAP_DOMAIN, b"fleetgw")
        server.setsockopt(zmq.CURVE_SERVER, 1)
        self._set_keys(server)

    def use_keys(self, keys: CurveKeys, server: zmq.Socket[bytes]) -> bool:
        """Use other keys from now on; connected clients stay. Returns whether the socket has to be bound again for them."""
        own_changed = (keys.public, keys.secret) != (self._keys.public, self._keys.secret)
        self._keys = keys
        self._set_keys(server)
        return own_changed

    def _set_keys(self, server: zmq.Socket[bytes]) -> None:
        server.setsockopt(zmq.CURVE_PUBLICKEY, self._keys.public)
        server.setsockopt(zmq.CURVE_SECRETKEY, self._keys.secret)

    def answer_requests(self) -> None:
        """Answer the requests since the last call."""
        while self._requests.poll(0):
            _, request, _, address, _, mechanism, *credentials = self._requests.recv_multipart()
            key = z85.encode(credentials[0]) if mechanism == b"CURVE" and credentials else b""
            allowed = bool(key) and (self._keys.allowed is None or key in self._keys.allowed)
            if not allowed:
                self._log_refused(address.decode("utf-8", "replace"), key.decode())
            status = (b"200", b"OK") if allowed else (b"400", b"this key is not allowed")
            self._requests.send_multipart((_VERSION, request, *status, b"", b""))

    def _log_refused(self, address: str, key: str) -> None:
        """Log each key once in an interval: a refused client connects again many times a second."""
        if self._lines.admit("refused", key, self._clock.seconds(), 1) is not None:
            self._log.warn("zmq_client_refused", address=address, public_key=key)

    def close(self) -> None:
        """Close the socket for requests."""
        self._requests.close()
