"""A distant broker: a TCP proxy that delays every byte by the same time each way, without a limit on throughput.

One thread, so that it takes little of the CPU that it shares with brokers and vehicles.
"""

import argparse
import selectors
import socket
import time
from collections import deque

from attrs import define, field

READ_BYTES = 262_144


@define(eq=False)
class Way:
    """One direction of one connection.

    :ivar under_way: time of arrival and bytes, the oldest first.
    :ivar arrived: bytes that the target has not taken yet.
    """

    source: socket.socket
    target: socket.socket
    delay_s: float
    rename: tuple[bytes, bytes] | None
    under_way: deque[tuple[float, bytes]] = field(factory=deque)
    arrived: bytes = b""

    def read(self) -> bool:
        """Read available bytes; whether more may follow."""
        try:
            data = self.source.recv(READ_BYTES)
        except OSError:
            data = b""
        self.under_way.append((time.monotonic() + self.delay_s, data.replace(*self.rename) if self.rename else data))
        return bool(data)

    def deliver(self) -> float | None:
        """Write all bytes that are due; the time at which more will be, or None."""
        ends = False
        while self.under_way and self.under_way[0][0] <= time.monotonic():
            data = self.under_way.popleft()[1]
            self.arrived += data
            ends = not data
        try:
            if self.arrived:
                self.arrived = self.arrived[self.target.send(self.arrived) :]
            if ends:
                self.target.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:
            self.arrived = b""
        if self.arrived:
            return time.monotonic() + 0.001  # the target is full
        return self.under_way[0][0] if self.under_way else None


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints the port that it listens on.")
    parser.add_argument("port", type=int, help="of the broker, on 127.0.0.1")
    parser.add_argument("delay_ms", type=float, help="each way")
    parser.add_argument("--kafka", action="store_true", help="brokers tell clients where they are: name the proxy instead")
    arguments = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    print(port, flush=True)
    rename = None
    if arguments.kafka:  # a metadata response has the host as text, then the port in four bytes
        rename = (b"127.0.0.1" + arguments.port.to_bytes(4, "big"), b"127.0.0.1" + port.to_bytes(4, "big"))
    poll = selectors.SelectSelector()  # which waits to the microsecond, epoll to the millisecond
    poll.register(listener, selectors.EVENT_READ)
    ways: list[Way] = []
    while True:
        due_s = [at_s for way in ways if (at_s := way.deliver()) is not None]
        for key, _ in poll.select(max(0.0, min(due_s) - time.monotonic()) if due_s else None):
            if key.fileobj is listener:
                client = listener.accept()[0]
                broker = socket.create_connection(("127.0.0.1", arguments.port))
                for stream in (client, broker):
                    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    stream.setblocking(False)
                for source, target, names in ((client, broker, None), (broker, client, rename)):
                    ways.append(Way(source, target, arguments.delay_ms / 1000, names))
                    poll.register(source, selectors.EVENT_READ, ways[-1])
            elif not key.data.read():
                poll.unregister(key.fileobj)


if __name__ == "__main__":
    main()
