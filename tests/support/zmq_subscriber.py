"""A ZeroMQ subscriber, with or without CURVE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import zmq
from zmq.utils.monitor import recv_monitor_message

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

RECEIVE_TIMEOUT_MS = int(DEADLINE_S * 1000)
_PROBE_TIMEOUT_MS = 20


class Subscriber:
    """A subscriber of all topics of a publisher.

    :param keys: our public and secret key and the server's public key (z85), for CURVE.
    :param receive_high_water_mark: number of messages it keeps; further ones wait at the publisher.
    """

    def __init__(
        self, addr: str, keys: tuple[bytes, bytes, bytes] | None = None, receive_high_water_mark: int = 100_000
    ) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 10)
        self._socket.setsockopt(zmq.RCVHWM, receive_high_water_mark)
        if keys is not None:
            self._socket.curve_publickey, self._socket.curve_secretkey, self._socket.curve_serverkey = keys
        self._socket.setsockopt(zmq.SUBSCRIBE, b"")
        self._monitor = self._socket.get_monitor_socket(zmq.Event.HANDSHAKE_SUCCEEDED)
        self._socket.connect(addr)

    def wait_until_connected(self) -> None:
        """Wait for the publisher's side of the handshake; it has the subscription a moment later.

        :raises AssertionError: it does not come.
        """
        if not self._monitor.poll(RECEIVE_TIMEOUT_MS):
            raise AssertionError("no publisher answers")
        recv_monitor_message(self._monitor)

    def wait_until_joined(self, send_probe: Callable[[], None], is_probe: Callable[[bytes], bool]) -> bool:
        """Have probes sent until one arrives, and discard them; a publisher does not tell which subscribers are connected.

        :return: whether one arrived in time.
        """
        for _ in range(RECEIVE_TIMEOUT_MS // _PROBE_TIMEOUT_MS):
            send_probe()
            if self._socket.poll(_PROBE_TIMEOUT_MS):
                while self._socket.poll(_PROBE_TIMEOUT_MS):
                    frames = self._socket.recv_multipart()
                    if not is_probe(frames[-1]):
                        raise AssertionError(frames)
                return True
        return False

    def receive(self, at_least: int, timeout_ms: int = RECEIVE_TIMEOUT_MS) -> list[list[bytes]]:
        """Messages, each a list of frames: at least ``at_least``, unless none arrives for ``timeout_ms``."""
        messages: list[list[bytes]] = []
        while self._socket.poll(timeout_ms if len(messages) < at_least else 0):
            messages.append(self._socket.recv_multipart())
        return messages

    def close(self) -> None:
        """Close the subscription."""
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._context.term()
