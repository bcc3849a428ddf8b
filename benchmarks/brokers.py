"""The brokers that the sinks are measured against, each in processes of its own."""

import importlib.util
import subprocess
import sys
from contextlib import ExitStack

from attrs import define, field
from servers import HERE, LOAD_CPU, on_cpu

from tests.support.free_ports import free_port

EXTRAS = {
    "kafka": "confluent_kafka",
    "kinesis": "boto3",
    "mqtt": "paho",
    "pubsub": "google.pubsub_v1",
    "redis": "hiredis",
    "zmq": "zmq",
}
"""The module that tells whether a sink's client library is installed."""

ENVIRON = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_DEFAULT_REGION": "eu-central-1"}


def missing(sink: str) -> str | None:
    """The program or library that a sink's measurement lacks on this machine, as text; None when there are all."""
    module = EXTRAS.get(sink)
    if module is not None and not _is_installed(module):
        return f"its client library is not installed: pip install 'fleetgw[{sink}]'"
    if sink == "mqtt":
        from tests.support.mqtt import mosquitto

        return mosquitto.missing()
    if sink == "redis":
        from tests.support.redis import servers

        return servers.missing()
    return None


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


@define
class Broker:
    """A running broker, for use in a ``with`` statement.

    :ivar port: on 127.0.0.1.
    """

    sink: str
    port: int = 0
    _stack: ExitStack = field(factory=ExitStack)

    def __enter__(self) -> "Broker":
        match self.sink:
            case "kafka" | "kinesis" | "pubsub":
                self.port = self._python("stand_ins.py", self.sink)
            case "mqtt":
                from tests.support.mqtt.mosquitto import Mosquitto

                mosquitto = Mosquitto("allow_anonymous true\nset_tcp_nodelay true")
                self._stack.callback(mosquitto.stop)
                self.port = mosquitto.port
            case "redis":
                from tests.support.redis.servers import RedisServer

                redis = RedisServer()
                self._stack.callback(redis.stop)
                self.port = redis.port
                self._python("stand_ins.py", "redis-subscriber", str(self.port))
            case "zmq":
                self.port = free_port()
                self._python("stand_ins.py", "zmq-subscriber", str(self.port))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def further_away(self, delay_ms: float) -> int:
        """The port of a proxy that delays each way."""
        kafka = ["--kafka"] if self.sink == "kafka" else []
        return self._python("delay.py", str(self.port), str(delay_ms), *kafka)

    def _python(self, *command: str) -> int:
        process = on_cpu(LOAD_CPU, [sys.executable, HERE / command[0], *command[1:]])
        self._stack.callback(_end, process)
        assert process.stdout is not None
        return int(process.stdout.readline())


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


def section(sink: str, port: int, *, qos: int = 1) -> dict[str, object]:
    """The sink's section of the configuration.

    :param port: where its broker is.
    """
    address = f"127.0.0.1:{port}"
    match sink:
        case "kafka":
            return {"bootstrap.servers": address}
        case "kinesis":
            return {"override_host": f"http://{address}"}
        case "mqtt":
            names = {"client_id": "benchmark", "topic_base": "bench"}
            return {"broker": address, "qos": qos, "publish_timeout_ms": 10_000, **names}
        case "pubsub":
            return {"gcp_project_id": "benchmark"}
        case "redis":
            return {"addrs": [address], "publish_vin_topics": True}
        case "zmq":
            return {"addr": f"tcp://{address}", "high_water_mark": 1_000_000}
        case _:
            raise ValueError(sink)


def environ(sink: str, port: int) -> dict[str, str]:
    """The environment variables that the sink reads."""
    return {"PUBSUB_EMULATOR_HOST": f"127.0.0.1:{port}"} if sink == "pubsub" else ENVIRON if sink == "kinesis" else {}
