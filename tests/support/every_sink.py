"""A broker for every sink and a consumer at each, for runs of the gateway with all sinks."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from contextlib import closing, suppress
from shutil import which
from threading import Event, Thread
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import apsw
from confluent_kafka import Consumer, TopicPartition

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import ConnectivityEvent, VehicleConnectivity
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Payload
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleErrors
from tests.support import zmq_subscriber
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.kafka import broker as kafka_broker
from tests.support.kafka.consumer import consume
from tests.support.kinesis import moto
from tests.support.kinesis.fault_stub import FaultStub
from tests.support.mqtt import mosquitto
from tests.support.mqtt.mosquitto import Mosquitto
from tests.support.pubsub.stand_in import StandIn
from tests.support.redis import servers
from tests.support.redis import subscriber as redis_subscriber
from tests.support.redis.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from google.protobuf.timestamp_pb2 import Timestamp
    from google.pubsub_v1.types import PubsubMessage

Content: TypeAlias = Payload | VehicleAlerts | VehicleErrors | VehicleConnectivity
Key: TypeAlias = tuple[object, ...]

SINKS = ("kafka", "redis", "mqtt", "zmq", "sqlite", "kinesis", "pubsub", "logger")
CONTENTS: dict[str, type[Content]] = {
    "V": Payload,
    "alerts": VehicleAlerts,
    "errors": VehicleErrors,
    "connectivity": VehicleConnectivity,
}
PROJECT = "fleet"


class Delivered(NamedTuple):
    """A record as a consumer got it."""

    record_type: str
    txid: str
    payload: bytes

    @property
    def content(self) -> Content:
        """The payload, read."""
        return CONTENTS[self.record_type].FromString(self.payload)


def missing(kafka_jars: Path) -> str | None:
    """The programs that the brokers and consumers lack on this machine, as text; None when there are all."""
    clients = which("mosquitto_sub") and which("mosquitto_pub")
    programs = None if clients else "mosquitto_sub not found: install it (Debian: apt-get install mosquitto-clients)"
    lacks = (kafka_broker.missing(kafka_jars), servers.missing(), mosquitto.missing(), moto.missing(), programs)
    return "; ".join(lack for lack in lacks if lack is not None) or None


class Brokers:
    """One broker of each kind, started when made.

    Kinesis is moto behind a stub, Pub/Sub a stand-in: these two keep their records while they are away.

    :param kafka_jars: the folder of Kafka's jars.
    """

    def __init__(self, kafka_jars: Path) -> None:
        self.kafka = kafka_broker.KafkaBroker(kafka_jars, 1_048_588)
        self.redis = RedisServer("--client-output-buffer-limit", "pubsub 0 0 0")
        self.mosquitto = Mosquitto("allow_anonymous true\nset_tcp_nodelay true")
        self.moto = moto.Moto()
        self.kinesis = FaultStub(self.moto.port)
        self.pubsub = StandIn()

    def outage(self, sink: str) -> tuple[Callable[[], None], Callable[[], None]]:
        """By sink: a function that kills the broker, and one that starts it again."""
        return {
            "kafka": (self.kafka.kill, self.kafka.start),
            "redis": (self.redis.kill, self.redis.start),
            "mqtt": (self.mosquitto.kill, self.mosquitto.start),
            "kinesis": (self.kinesis.go_away, self.kinesis.come_back),
            "pubsub": (self.pubsub.go_away, self.pubsub.come_back),
        }[sink]

    def stop(self) -> None:
        """Stop all of them."""
        self.kinesis.go_away()
        self.pubsub.go_away()
        for broker in (self.kafka, self.redis, self.mosquitto, self.moto):
            broker.stop()


class Consumers:
    """Consumers at every sink, for one run of the gateway: made before it, ``join`` once it listens, ``close`` at the end.

    :param folder: of the gateway process; the SQLite file goes there, too.
    :param namespace: of this run alone.
    """

    def __init__(self, brokers: Brokers, folder: Path, namespace: str) -> None:
        self._brokers = brokers
        self._folder = folder
        self._namespace = namespace
        self._ended = Event()
        self._kinesis = brokers.moto.client()
        for name in self._names():
            self._kinesis.create_stream(StreamName=name, ShardCount=4)
        self._redis = redis_subscriber.Subscriber(brokers.redis.client(), patterns=[f"{namespace}_*"])
        self._zmq_addr = f"tcp://127.0.0.1:{free_port()}"
        self._zmq = zmq_subscriber.Subscriber(self._zmq_addr, receive_high_water_mark=0)
        self._zmq_got: list[list[bytes]] = []
        self._mqtt_file = folder / "mqtt.txt"
        self._mqtt = self._subscribe_mqtt()
        self._threads = [Thread(target=target, daemon=True) for target in (self._read_redis, self._read_zmq)]
        for thread in self._threads:
            thread.start()

    def configuration(self) -> dict[str, object]:
        """The gateway's sections."""
        return {
            "namespace": self._namespace,
            "records": {record_type: list(SINKS) for record_type in CONTENTS},
            "kafka": {"bootstrap.servers": self._brokers.kafka.servers},
            "redis": {"addrs": [self._brokers.redis.address], "publish_vin_topics": True},
            "mqtt": {
                "broker": self._brokers.mosquitto.address,
                "topic_base": self._namespace,
                "qos": 1,
                "connect_retry_interval_ms": 1_000,
                "disconnect_timeout_ms": 5_000,
            },
            "zmq": {"addr": self._zmq_addr, "high_water_mark": 1_000_000},
            "sqlite": {"path": str(self._folder / "fleet.sqlite3")},
            "kinesis": {"override_host": f"http://{self._brokers.kinesis.address}"},
            "pubsub": {"gcp_project_id": PROJECT},
        }

    def environ(self) -> dict[str, str]:
        """The gateway's environment variables."""
        return {**moto.CREDENTIALS, "PUBSUB_EMULATOR_HOST": self._brokers.pubsub.address}

    def join(self) -> None:
        """Wait until the ZeroMQ subscriber has connected; the others have already."""
        self._zmq.wait_until_connected()
        time.sleep(0.5)  # until the publisher has read the subscription, which nothing tells

    def counts(self, away: str = "") -> dict[str, int]:
        """Arrivals at each consumer: messages of MQTT, rows of V in SQLite, else records.

        :param away: a sink that is left out.
        """
        ways: dict[str, Callable[[], int]] = {
            "kafka": self._kafka_count,
            "redis": lambda: len(self._redis.received),
            "mqtt": lambda: self._mqtt_file.read_bytes().count(b"\n"),
            "zmq": lambda: len(self._zmq_got),
            "sqlite": lambda: len(self._sqlite("SELECT id FROM record")),
            "kinesis": lambda: sum(len(moto.consume(self._kinesis, name)) for name in self._names()),
            "pubsub": lambda: sum(len(self._published(name)) for name in self._names()),
            "logger": lambda: (self._folder / "gateway.log").read_bytes().count(b'"record_payload"'),
        }
        return {sink: count() for sink, count in ways.items() if sink != away}

    def records(self) -> list[Delivered]:
        """Messages at the Pub/Sub stand-in, with txid and payload."""
        messages = [(name, one) for name in self._names() for one in self._published(name)]
        return [Delivered(self._type(name), one.attributes["txid"], one.data) for name, one in messages]

    def arrived(self, sink: str) -> Counter[Key]:
        """Records that the consumer of a sink received, by the keys of ``keys_of``."""
        match sink:
            case "kafka":
                found = consume(self._brokers.kafka.servers, self._names(), 1)
                return Counter((self._type(one.topic), dict(one.headers)["txid"].decode()) for one in found)
            case "redis":
                return Counter((self._type(channel.decode()), payload) for channel, payload in self._redis.received)
            case "zmq":
                return Counter((self._type(topic.decode()), payload) for topic, payload in self._zmq_got)
            case "kinesis":
                streams = [(name, moto.consume(self._kinesis, name)) for name in self._names()]
                return Counter((self._type(name), record.data) for name, records in streams for record in records)
            case "pubsub":
                return Counter((one.record_type, one.txid) for one in self.records())
            case "mqtt":
                lines = self._mqtt_file.read_text().splitlines()
                return Counter(tuple(line.split(" ", 1)) for line in lines if "/probe " not in line)
            case "logger":
                return Counter(self._logged())
            case _:
                return Counter(self._stored())

    def close(self) -> None:
        """Leave."""
        self._ended.set()
        for thread in self._threads:
            thread.join(DEADLINE_S)
        self._mqtt.terminate()
        self._mqtt.wait()
        self._redis.close()
        self._zmq.close()
        self._kinesis.close()

    def _names(self) -> list[str]:
        return [f"{self._namespace}_{record_type}" for record_type in CONTENTS]

    def _published(self, name: str) -> Sequence[PubsubMessage]:
        return self._brokers.pubsub.topics.get(f"projects/{PROJECT}/topics/{name}", ())

    def _type(self, name: str) -> str:
        return name.removeprefix(f"{self._namespace}_").partition("_{")[0]

    def _subscribe_mqtt(self) -> subprocess.Popen[bytes]:
        """A subscriber with a persistent session: the broker keeps its messages while it is away."""
        port = str(self._brokers.mosquitto.port)
        with self._mqtt_file.open("wb") as output:
            options = ("-p", port, "-c", "-i", f"of-{self._namespace}", "-q", "1", "-F", "%t %p")
            process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                ["mosquitto_sub", *options, "-t", f"{self._namespace}/#"],  # noqa: S607 found as users find it
                stdin=subprocess.DEVNULL,
                stdout=output,
            )
        deadline_s = time.monotonic() + DEADLINE_S
        while not self._mqtt_file.stat().st_size:
            if time.monotonic() > deadline_s:
                raise AssertionError("mosquitto_sub does not subscribe")
            subprocess.run(  # noqa: S603 as above
                ["mosquitto_pub", "-p", port, "-q", "1", "-t", f"{self._namespace}/probe", "-m", "probe"],  # noqa: S607
                check=True,
            )
            time.sleep(0.05)
        self._brokers.mosquitto.save()
        return process

    def _read_redis(self) -> None:
        while not self._ended.is_set():
            self._redis.read(0.1)

    def _read_zmq(self) -> None:
        while not self._ended.is_set():
            self._zmq_got += self._zmq.receive(1, 100)

    def _kafka_count(self) -> int:
        consumer = Consumer({"bootstrap.servers": self._brokers.kafka.servers, "group.id": "counts", "log_level": 0})
        count = 0
        try:
            for name, topic in consumer.list_topics(timeout=DEADLINE_S).topics.items():
                for partition in topic.partitions if name in self._names() else ():
                    count += consumer.get_watermark_offsets(TopicPartition(name, partition), timeout=DEADLINE_S)[1]
        finally:
            consumer.close()
        return count

    def _logged(self) -> Iterable[Key]:
        for line in (self._folder / "gateway.log").read_bytes().splitlines():
            entry = json.loads(line)
            if entry["msg"] == "record_payload":
                yield entry["metadata"]["txtype"], entry["metadata"]["txid"]

    def _stored(self) -> Iterable[Key]:
        yield from (("V", txid) for (txid,) in self._sqlite("SELECT txid FROM record"))
        yield from (("alerts", *row) for row in self._sqlite("SELECT vin, name, started_at_ms FROM alerts"))
        yield from (("errors", *row) for row in self._sqlite("SELECT vin, name, body, created_at_ms FROM errors"))
        yield from (("connectivity", *row) for row in self._sqlite("SELECT vin, connection_id, status FROM connectivity"))

    def _sqlite(self, statement: str) -> list[tuple[object, ...]]:
        with (
            suppress(apsw.CantOpenError, apsw.SQLError),
            closing(  # not made yet
                apsw.Connection(str(self._folder / "fleet.sqlite3"), flags=apsw.SQLITE_OPEN_READONLY)
            ) as connection,
        ):
            connection.set_busy_timeout(10_000)  # a gateway that was killed leaves a log, which the next one reads first
            return connection.execute(statement).fetchall()
        return []


def keys_of(sink: str, record: Delivered, mqtt_messages: Callable[[Delivered], Iterable[Key]]) -> Iterable[Key]:
    """Parts of a record that must arrive at the consumer of a sink.

    :param mqtt_messages: topics and bodies of a record.
    """
    match sink:
        case "mqtt":
            return mqtt_messages(record)
        case "sqlite":
            return _rows(record)
        case "redis" | "zmq" | "kinesis":
            return [(record.record_type, record.payload)]
        case _:
            return [(record.record_type, record.txid)]


def mqtt_count(content: Content) -> int:
    """Number of MQTT messages of a record, by its content; every alert has a start time."""
    match content:
        case Payload():
            return len({datum.key for datum in content.data})
        case VehicleAlerts():
            return 2 * len({alert.name for alert in content.alerts})
        case VehicleErrors():
            return len(content.errors)
        case _:
            return 1


def _rows(record: Delivered) -> list[Key]:
    match content := record.content:
        case Payload():
            return [("V", record.txid)]
        case VehicleAlerts():
            return [("alerts", content.vin, alert.name, _ms(alert.started_at)) for alert in content.alerts]
        case VehicleErrors():
            return [("errors", content.vin, one.name, one.body, _ms(one.created_at)) for one in content.errors]
        case _:
            return [("connectivity", content.vin, content.connection_id, ConnectivityEvent.Name(content.status))]


def _ms(moment: Timestamp) -> int:
    return moment.seconds * 1000 + moment.nanos // 1_000_000
