"""A broker further away: a TCP proxy that delays every byte by the same time each way, and does not limit how many pass."""

import argparse
import socket
import threading
import time
from queue import SimpleQueue

READ_BYTES = 262_144


def forward(source: socket.socket, target: socket.socket, delay_s: float, rename: tuple[bytes, bytes] | None) -> None:
    """Read at once, write ``delay_s`` later: a thread for each, so that waiting holds up no reading."""
    under_way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def write() -> None:
        try:
            while True:
                due_s, data = under_way.get()
                time.sleep(max(0.0, due_s - time.monotonic()))
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)
        except OSError:
            source.close()

    threading.Thread(target=write, daemon=True).start()
    data = b"?"
    while data:
        try:
            data = source.recv(READ_BYTES)
        except OSError:
            data = b""
        under_way.put((time.monotonic() + delay_s, data.replace(*rename) if rename else data))


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
    while True:
        client = listener.accept()[0]
        broker = socket.create_connection(("127.0.0.1", arguments.port))
        for stream in (client, broker):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        delay_s = arguments.delay_ms / 1000
        threading.Thread(target=forward, args=(client, broker, delay_s, None), daemon=True).start()
        threading.Thread(target=forward, args=(broker, client, delay_s, rename), daemon=True).start()


if __name__ == "__main__":
    main()
