"""The bare client libraries: each delivers prepared records, without a gateway."""

from collections.abc import Callable, Sequence
from pathlib import Path

import apsw

from fleetgw.domain.records import Record

NAMESPACE = "bench"
UNDER_WAY = 4  # batches, as with the sinks

Deliver = Callable[[Sequence[Sequence[Record]]], None]
"""Delivers batches; returns once all of them are confirmed."""


def kafka(port: int, _folder: Path) -> Deliver:
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": f"127.0.0.1:{port}", "enable.idempotence": "true"})
    waiting = 0

    def confirmed(_error: object, _message: object) -> None:
        nonlocal waiting
        waiting -= 1

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        nonlocal waiting
        for batch in batches:
            for record in batch:
                producer.produce(
                    f"{NAMESPACE}_V", record.payload, record.vin, -1, confirmed, None, 0, [*record.metadata().items()]
                )
            waiting += len(batch)
            while waiting > (UNDER_WAY - 1) * len(batch):
                producer.poll(0.005)
        producer.flush()

    return deliver


def kinesis(port: int, _folder: Path) -> Deliver:
    import boto3

    client = boto3.client("kinesis", endpoint_url=f"http://127.0.0.1:{port}")

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        for batch in batches:
            entries = [{"Data": record.payload, "PartitionKey": record.vin} for record in batch]
            assert not client.put_records(StreamName=f"{NAMESPACE}_V", Records=entries)["FailedRecordCount"]

    return deliver


def mqtt(port: int, _folder: Path) -> Deliver:
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    from fleetgw.adapters.sinks.mqtt.messages import MessageWriter

    client = Client(CallbackAPIVersion.VERSION2, client_id="bare")
    waiting = 0

    def confirmed(*_: object) -> None:
        nonlocal waiting
        waiting -= 1

    client.on_publish = confirmed
    client.connect("127.0.0.1", port)
    while not client.is_connected():
        client.loop(0.1)
    writer = MessageWriter("bare")
    ready_made: dict[Record, list[tuple[str, bytes]]] = {}  # made in the first round, which does not count

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        nonlocal waiting
        for batch in batches:
            for record in batch:
                messages = ready_made.get(record)
                if messages is None:
                    made = writer.messages(record)
                    messages = ready_made[record] = [(message.topic.decode(), message.body) for message in made]
                for topic, body in messages:
                    client.publish(topic, body, 1)
                waiting += len(messages)
            while waiting > (UNDER_WAY - 1) * 8 * len(batch):
                client.loop(0.1)
        while waiting:
            client.loop(0.1)

    return deliver


def pubsub(_port: int, _folder: Path) -> Deliver:
    from google.cloud.pubsub_v1 import PublisherClient  # which finds the port in PUBSUB_EMULATOR_HOST

    client = PublisherClient()
    topic = client.topic_path("benchmark", f"{NAMESPACE}_V")

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        futures = [client.publish(topic, record.payload, **record.metadata()) for batch in batches for record in batch]
        for future in futures:
            future.result(10)

    return deliver


def redis(port: int, _folder: Path) -> Deliver:
    from redis import Redis

    client = Redis("127.0.0.1", port)

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        for batch in batches:
            with client.pipeline(transaction=False) as pipeline:
                for record in batch:
                    pipeline.publish(f"{NAMESPACE}_V_{{{record.vin}}}", record.payload)
                assert all(pipeline.execute())

    return deliver


def sqlite(_port: int, folder: Path) -> Deliver:
    """SQLite alone, with payloads as they are; the sink decodes signals and writes them as JSON."""
    connection = apsw.Connection(str(folder / "bare.sqlite3"))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE record (id INTEGER PRIMARY KEY, vin TEXT, received_at_ms INTEGER, txid TEXT, signals BLOB)"
    )

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        for batch in batches:
            connection.execute("BEGIN")
            rows = [(record.vin, record.received_at_ms, record.txid, record.payload) for record in batch]
            connection.executemany("INSERT INTO record (vin, received_at_ms, txid, signals) VALUES (?, ?, ?, ?)", rows)
            connection.execute("COMMIT")

    return deliver


def zmq(port: int, _folder: Path) -> Deliver:
    import zmq

    publisher = zmq.Context().socket(zmq.PUB)
    publisher.setsockopt(zmq.SNDHWM, 1_000_000)
    publisher.bind(f"tcp://127.0.0.2:{port}")  # the sink has the port at 127.0.0.1; see ``stand_ins.py``
    topic = f"{NAMESPACE}_V".encode()

    def deliver(batches: Sequence[Sequence[Record]]) -> None:
        for batch in batches:
            for record in batch:
                publisher.send_multipart((topic, record.payload))

    return deliver


CLIENTS: dict[str, Callable[[int, Path], Deliver]] = {
    "kafka": kafka,
    "kinesis": kinesis,
    "mqtt": mqtt,
    "pubsub": pubsub,
    "redis": redis,
    "sqlite": sqlite,
    "zmq": zmq,
}
"""Makes a deliverer, from the broker's port and a folder for files."""
