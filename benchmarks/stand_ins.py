"""Stand-ins for brokers, in Python: each a process of its own that prints its port."""

import argparse
import asyncio
import json
import socket
import sys
import time
from functools import lru_cache

READ_BYTES = 262_144


class Kinesis(asyncio.Protocol):
    """Accepts all records and keeps none: moto's own CPU would dominate the measurement."""

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            head, found, rest = self._received.partition(b"\r\n\r\n")
            if not found:
                return
            headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
            size = int(headers[b"content-length"])
            if len(rest) < size:
                return
            self._received = rest[size:]
            is_put = headers[b"x-amz-target"].endswith(b"putrecords")
            self._transport.write(_put(rest[:size].count(b'"Data":')) if is_put else _described())


@lru_cache
def _put(records: int) -> bytes:
    answer = {"ShardId": "shardId-000000000000", "SequenceNumber": "4" * 56}
    return _response({"FailedRecordCount": 0, "Records": [answer] * records})


def _described() -> bytes:
    return _response({"StreamDescriptionSummary": {"StreamName": "any", "StreamStatus": "ACTIVE"}})


def _response(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def serve_kinesis() -> None:
    server = await asyncio.get_running_loop().create_server(Kinesis, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve_kafka() -> None:
    from tests.support.kafka.mock_cluster import MockCluster

    cluster = MockCluster()
    print(cluster.servers.rpartition(":")[2], flush=True)
    sys.stdin.read()


def serve_pubsub() -> None:
    from tests.support.pubsub.stand_in import StandIn

    server = StandIn()
    print(server.port, flush=True)
    while True:  # messages that it keeps for subscribers would only grow
        time.sleep(1)
        for messages in server.topics.values():
            messages.clear()


def subscribe_redis(port: int) -> None:
    stream = socket.create_connection(("127.0.0.1", port))
    stream.sendall(b"PSUBSCRIBE *\r\n")
    stream.recv(READ_BYTES)
    print(port, flush=True)
    while stream.recv(READ_BYTES):
        pass


def subscribe_zmq(port: int) -> None:
    import zmq

    subscriber = zmq.Context().socket(zmq.SUB)
    subscriber.setsockopt(zmq.SUBSCRIBE, b"")
    subscriber.setsockopt(zmq.RCVHWM, 0)
    for host in ("127.0.0.1", "127.0.0.2"):  # the sink, and the bare library
        subscriber.connect(f"tcp://{host}:{port}")
    print(port, flush=True)
    while True:
        subscriber.recv_multipart()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["kafka", "kinesis", "pubsub", "redis-subscriber", "zmq-subscriber"])
    parser.add_argument("port", type=int, nargs="?", default=0, help="of the broker to subscribe to")
    arguments = parser.parse_args()
    match arguments.what:
        case "kafka":
            serve_kafka()
        case "kinesis":
            asyncio.run(serve_kinesis())
        case "pubsub":
            serve_pubsub()
        case "redis-subscriber":
            subscribe_redis(arguments.port)
        case "zmq-subscriber":
            subscribe_zmq(arguments.port)


if __name__ == "__main__":
    main()
