"""A real Apache Kafka: one node, KRaft mode, a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.broker_process import BrokerProcess
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_ports

if TYPE_CHECKING:
    from pathlib import Path

SASL_USER = "fleet"
SASL_PASSWORD = "for tests only"  # noqa: S105  of a broker that lives as long as its tests

_MAIN_CLASS_JAR = "kafka_2.13-*.jar"

_PLAIN_LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config={plain_login} user_{user}="{password}";
log.dirs={folder}/log
num.partitions=4
message.max.bytes={max_message_bytes}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=200
broker.session.timeout.ms=1000
auto.create.topics.enable={creates_topics}
"""


def missing(jars: Path) -> str | None:
    """Reason why no broker can be started here, for people; None when one can."""
    if shutil.which("java") is None:
        return "java not found: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if not any(jars.glob(_MAIN_CLASS_JAR)):
        return "Apache Kafka's jars are not there: run tests/support/kafka/install_kafka.sh"
    return None


class KafkaBroker(BrokerProcess):
    """Started by its constructor; it keeps its port and its log over ``kill`` and ``start``.

    :param jars: the folder of Kafka's jars.
    :param max_message_bytes: it refuses larger batches.
    :param creates_topics: whether a topic that is not there is made when it is first asked for.
    :ivar servers: for ``bootstrap.servers``.
    :ivar sasl_servers: likewise, for clients that say who they are: SASL PLAIN, ``SASL_USER`` and ``SASL_PASSWORD``.
    """

    def __init__(self, jars: Path, max_message_bytes: int, *, creates_topics: bool = True) -> None:
        port, sasl_port, controller_port = free_ports(3)
        super().__init__(port)
        self.servers = self.address
        self.sasl_servers = f"127.0.0.1:{sasl_port}"
        self._java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars.absolute()}/*"]
        self._configuration = self.folder / "server.properties"
        self._configuration.write_text(
            _PROPERTIES.format(
                port=port,
                sasl_port=sasl_port,
                controller_port=controller_port,
                folder=self.folder,
                max_message_bytes=max_message_bytes,
                creates_topics="true" if creates_topics else "false",
                plain_login=_PLAIN_LOGIN,
                user=SASL_USER,
                password=SASL_PASSWORD,
            )
        )
        cluster_id = "fleetgw-tests-" + uuid4().hex[:8]
        subprocess.run(  # noqa: S603 a fixed program, nothing of a stranger's
            [*self._java, "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._configuration)],
            check=True,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        self.start()

    def create_topic(self, topic: str) -> None:
        """Make a topic, and wait for it."""
        admin = AdminClient({"bootstrap.servers": self.servers})  # kept: the request ends with it
        admin.create_topics([NewTopic(topic, 2, 1)])[topic].result(DEADLINE_S)

    def command(self) -> list[str]:
        """Kafka, in Java."""
        return [*self._java, "kafka.Kafka", str(self._configuration)]

    def answers(self) -> bool:
        """Whether it accepts connections and lists its topics."""
        if not super().answers():
            return False
        try:
            AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(timeout=5)
        except KafkaException:
            return False
        return True
