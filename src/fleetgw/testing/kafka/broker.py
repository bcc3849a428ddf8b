"""A real Apache Kafka: one node, KRaft mode, a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

START_TIMEOUT_S = 60.0

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
"""


def missing(jars: Path) -> str | None:
    """What a broker lacks to be started here, for people; None when nothing is missing."""
    if shutil.which("java") is None:
        return "java not found: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if not any(jars.glob(_MAIN_CLASS_JAR)):
        return "Apache Kafka's jars are not there: run tests/brokers/install_kafka.sh"
    return None


class KafkaBroker:
    """Started when made; it keeps its port and its log over ``kill`` and ``start``.

    :param jars: the folder of Kafka's jars.
    :param max_message_bytes: it refuses larger batches.
    :ivar servers: for ``bootstrap.servers``.
    :ivar sasl_servers: likewise, for clients that say who they are: SASL PLAIN, ``SASL_USER`` and ``SASL_PASSWORD``.
    """

    def __init__(self, jars: Path, max_message_bytes: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="fleetgw-kafka-"))
        self._java = ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*"]
        port, sasl_port, controller_port = _free_ports(3)
        self.servers = f"127.0.0.1:{port}"
        self.sasl_servers = f"127.0.0.1:{sasl_port}"
        self._configuration = self._folder / "server.properties"
        self._configuration.write_text(
            _PROPERTIES.format(
                port=port,
                sasl_port=sasl_port,
                controller_port=controller_port,
                folder=self._folder,
                max_message_bytes=max_message_bytes,
                plain_login=_PLAIN_LOGIN,
                user=SASL_USER,
                password=SASL_PASSWORD,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._run_to_end("kafka.tools.StorageTool", "format", "-t", "fleetgw-tests-" + uuid4().hex[:8], "-c")
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        if self._process is not None:
            return
        with (self._folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                [*self._java, "kafka.Kafka", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                self.stop()
                raise RuntimeError(f"Apache Kafka did not start:\n{self._output}")

    def kill(self) -> None:
        """SIGKILL: what it had not written, in whatever state, is gone."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good and remove what it wrote."""
        self.kill()
        output = self._folder / "output.txt"
        self._output = output.read_text(errors="replace")[-4000:] if output.exists() else ""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        host, port = self.servers.split(":")
        try:
            socket.create_connection((host, int(port)), 1).close()
            AdminClient({"bootstrap.servers": self.servers, "log_level": 0}).list_topics(timeout=5)
        except (OSError, KafkaException):
            time.sleep(0.1)
            return False
        return True

    def _run_to_end(self, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 a fixed program, nothing of a stranger's
            [*self._java, *arguments, str(self._configuration)], check=True, capture_output=True, timeout=START_TIMEOUT_S
        )


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports
