"""Real Redis servers: processes of their own on the loopback interface."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.support.broker_process import BrokerProcess
from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.client import PubSub

_BUS_PORT_OFFSET = 10_000  # a node's port for the other nodes


def missing() -> str | None:
    """The reason why servers cannot be started here, for people; None when they can."""
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        return "redis-server not found: install Redis (Debian: apt-get install redis-server)"
    return None


class RedisServer(BrokerProcess):
    """A process, started by the constructor; it keeps its port over ``kill`` and ``start``, but no data.

    :param arguments: options of ``redis-server``.
    :param port: of its own; None for a free one. Ready as soon as it takes connections there.
    """

    def __init__(self, *arguments: str, port: int | None = None, sentinel: bool = False) -> None:
        super().__init__(port)
        self._arguments = arguments
        self._sentinel = sentinel
        self.start()

    def command(self) -> list[str]:
        """The command: ``redis-server`` without files, or a sentinel, which needs one."""
        file = self.folder / "redis.conf"
        file.touch()
        port = () if "--tls-port" in self._arguments else ("--port", str(self.port))
        kind = ("--sentinel",) if self._sentinel else ("--save", "", "--appendonly", "no")
        return ["redis-server", str(file), *port, "--bind", "127.0.0.1", *kind, *self._arguments]

    def client(self, **arguments: object) -> Redis:
        """redis-py's client, without retries; to be closed by the caller."""
        return Redis("127.0.0.1", self.port, protocol=2, retry=Retry(NoBackoff(), 0), **arguments)  # type: ignore[arg-type]  # any that it has


class ServerCluster:
    """Masters, each with a replica where asked for.

    :param arguments: more options of ``redis-server``.
    :ivar nodes: all of them; the masters first, until one fails.
    """

    def __init__(self, *arguments: str, masters: int = 3, replicas: bool = False) -> None:
        own = ("--cluster-enabled", "yes", "--cluster-node-timeout", "500", "--cluster-require-full-coverage", "no")
        count = masters * (2 if replicas else 1)
        self.nodes = [RedisServer(*own, *arguments, port=_node_port()) for _ in range(count)]
        subprocess.run(  # noqa: S603 a fixed program, nothing of a stranger's
            [
                *("redis-cli", "--cluster", "create", *(node.address for node in self.nodes)),
                *("--cluster-replicas", str(int(replicas)), "--cluster-yes"),
            ],
            check=True,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        self.wait()

    def wait(self) -> None:
        """Wait until every slot is served, every node knows all others, and messages to one arrive at all."""
        eventually(self._whole)
        for listening in self.nodes:
            with listening.client() as client, client.pubsub() as subscription:
                subscription.subscribe("probe")
                subscription.get_message(timeout=1)
                for node in self.nodes:
                    eventually(partial(_arrives, node, subscription))

    def master_of(self, key: bytes) -> RedisServer:
        """The node that stores a key."""
        for node in self.nodes:
            with node.client() as client:
                slot = client.execute_command("CLUSTER", "KEYSLOT", key)
                for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(node for node in self.nodes if node.port == port)
        raise AssertionError(f"no node has {key!r}")

    def stop(self) -> None:
        """End all processes."""
        for node in self.nodes:
            node.stop()

    def _whole(self) -> bool:
        for node in self.nodes:
            with node.client() as client:
                slots = client.execute_command("CLUSTER", "SLOTS")
                state = client.execute_command("CLUSTER", "INFO")
            if sum(last - first + 1 for first, last, *_ in slots) != 16384 or b"cluster_state:ok" not in _bytes(state):
                return False
            if sum(len(nodes) for _, _, *nodes in slots) < len(self.nodes):
                return False
        return True


class SentinelledServers:
    """A master, its replica, and a sentinel that promotes the replica half a second after the master has ended.

    :cvar master_name: their name at the sentinel.
    """

    master_name = "fleet"

    def __init__(self) -> None:
        self.master = RedisServer()
        self.replica = RedisServer("--replicaof", f"127.0.0.1 {self.master.port}")
        self.sentinel = RedisServer(sentinel=True)
        with self.sentinel.client() as client:
            client.sentinel_monitor(self.master_name, "127.0.0.1", self.master.port, 1)
            client.sentinel_set(self.master_name, "down-after-milliseconds", "500")
            client.sentinel_set(self.master_name, "failover-timeout", "2000")
        eventually(self._knows_replica)

    def stop(self) -> None:
        """End all processes."""
        for server in (self.sentinel, self.replica, self.master):
            server.stop()

    def _knows_replica(self) -> bool:
        with self.sentinel.client() as client:
            return any("disconnected" not in str(each["flags"]) for each in client.sentinel_slaves(self.master_name))


def _arrives(node: RedisServer, subscription: PubSub) -> bool:
    with node.client() as client:
        client.publish("probe", str(node.port))
    message = subscription.get_message(timeout=0.1)
    while message is not None and message["data"] != str(node.port).encode():
        message = subscription.get_message(timeout=0.1)
    return message is not None


def eventually(holds: Callable[[], bool], timeout_s: float = DEADLINE_S) -> None:
    """Wait until a condition is true, for a bounded time."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            if holds():
                return
        except (RedisError, OSError):
            pass  # not yet
        if time.monotonic() > deadline_s:
            raise AssertionError(f"waited in vain for {holds}")
        time.sleep(0.02)


def _node_port() -> int:
    """A free port of a node; that of its bus, which is derived from it, is free, too."""
    while True:
        port = free_port()
        with suppress(OSError, OverflowError), socket.create_server(("127.0.0.1", port + _BUS_PORT_OFFSET)):
            return port


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
