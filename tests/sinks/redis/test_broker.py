"""The ``redis`` sink keeps the contract with real servers that hang, end and start again: one, a cluster, with TLS."""

import atexit
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from redis import Redis, RedisCluster
from twisted.trial.unittest import TestCase

from fleetgw.domain.ports import IDispatcher, Ready
from fleetgw.domain.records import Record
from fleetgw.simulator.certificates import make_authority, make_server, make_vehicle
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.real_reactor import until
from tests.support.free_ports import free_port
from tests.support.needed import needed
from tests.support.redis.harness import ServerHarness
from tests.support.redis.servers import RedisServer, ServerCluster, missing
from tests.support.redis.subscriber import Subscriber
from tests.support.redis.wire_contract import RedisWireContract

LIMIT = ("--proto-max-bulk-len", "1mb")
VECTORS = Path(__file__).parents[2] / "vectors" / "dispatch.json"


@cache
def the_server() -> RedisServer:
    """One for all tests."""
    needed(missing())
    server = RedisServer(*LIMIT)
    atexit.register(server.stop)
    return server


@cache
def the_cluster() -> ServerCluster:
    needed(missing())
    cluster = ServerCluster(*LIMIT)
    atexit.register(cluster.stop)
    return cluster


class SingleHarness(ServerHarness):
    """One server."""

    async def set_up(self) -> None:
        self.server = the_server()
        self.server.start()
        self.subscribe()
        self.subscriber = Subscriber(self.server.client(), *self.channels())

    async def tear_down(self) -> None:
        self.subscriber.close()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"addrs": [self.server.address], "publish_timeout": round(timeout_s * 1e9), **self.publishing()}

    async def hold(self) -> None:
        self.server.pause()

    async def release(self) -> None:
        self.server.resume()

    async def go_away(self) -> None:
        self.subscriber.read()
        self.server.kill()

    async def come_back(self) -> None:
        self.server.start()
        self.subscribe()
        self.subscriber.subscribed()


class Secured:
    """A server with TLS that requires a client certificate, a user name and a password."""

    user = "gateway"
    password = "s3cret-of-the-gateway"

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fleetgw-redis-tls-"))
        now = datetime.now(UTC)
        authority = make_authority(now, 30, "an authority")
        server = make_server(authority, ["redis.internal"], now, 30)
        client = make_vehicle(authority, "gateway", now, 30)
        files = {
            "ca.pem": authority.certificate_pem(),
            "server.pem": server.certificate_pem(),
            "server.key": server.key_pem(),
            "client.pem": client.certificate_pem(),
            "client.key": client.key_pem(),
        }
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        port = free_port()
        certificates = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
        options = [text for key, name in certificates.items() for text in (f"--tls-{key}-file", str(self.folder / name))]
        user = ("--user", self.user, "on", f">{self.password}", "~*", "&*", "+@all")
        auth = ("--tls-auth-clients", "yes", "--user", "default", "off")
        self.server = RedisServer("--port", "0", "--tls-port", str(port), *options, *auth, *user, *LIMIT, port=port)

    def client(self) -> Redis:
        return self.server.client(
            db=3,
            ssl=True,
            ssl_ca_certs=str(self.folder / "ca.pem"),
            ssl_certfile=str(self.folder / "client.pem"),
            ssl_keyfile=str(self.folder / "client.key"),
            ssl_check_hostname=False,
            username=self.user,
            password=self.password,
        )

    def settings(self) -> dict[str, object]:
        return {
            "addrs": [self.server.address],
            "username": self.user,
            "password": self.password,
            "db": 3,
            "override_tls_server_name": "redis.internal",
            "tls": {
                "ca_file": self.folder / "ca.pem",
                "server_cert": self.folder / "client.pem",
                "server_key": str(self.folder / "client.key"),
            },
        }


@cache
def the_secured() -> Secured:
    needed(missing())
    secured = Secured()
    atexit.register(secured.server.stop)
    atexit.register(shutil.rmtree, secured.folder)
    return secured


class SecuredHarness(SingleHarness):
    """TLS with client certificates, a user, and a database other than 0."""

    async def set_up(self) -> None:
        self.server = the_secured().server
        self.server.start()
        self.subscribe()
        self.subscriber = Subscriber(the_secured().client(), *self.channels())

    def client(self) -> Redis:
        return the_secured().client()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {**the_secured().settings(), "publish_timeout": round(timeout_s * 1e9), **self.publishing()}


class ClusterHarness(SingleHarness):
    """Three masters; the subscriber is at one of them."""

    async def set_up(self) -> None:
        self.cluster = the_cluster()
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait()
        self.subscribe()
        self.subscriber = Subscriber(self.cluster.nodes[0].client(), *self.channels())

    def client(self) -> Redis:
        return RedisCluster("127.0.0.1", self.cluster.nodes[0].port)

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        addrs = [node.address for node in self.cluster.nodes]
        return {
            "addrs": addrs[:2],
            "cluster_mode": True,
            "publish_timeout": round(timeout_s * 1e9),
            **self.publishing(),
        }

    async def hold(self) -> None:
        for node in self.cluster.nodes:
            node.pause()

    async def release(self) -> None:
        for node in self.cluster.nodes:
            node.resume()

    async def go_away(self) -> None:
        self.subscriber.read()
        for node in self.cluster.nodes:
            node.kill()

    async def come_back(self) -> None:
        for node in self.cluster.nodes:
            node.start()
        self.cluster.wait()
        self.subscribe()
        self.subscriber.subscribed()


class VinTopicsTests(DispatcherContract, TestCase):
    def make_harness(self) -> SingleHarness:
        return SingleHarness(sets=False)


class SetsTests(DispatcherContract, TestCase):
    def make_harness(self) -> SingleHarness:
        return SingleHarness(sets=True)


class SecuredTests(DispatcherContract, TestCase):
    def make_harness(self) -> SecuredHarness:
        return SecuredHarness(sets=True)


class ClusterContract(DispatcherContract):
    async def _delivered(self, sink: IDispatcher, batch: Sequence[Record]) -> None:
        """As in the contract, and every node has answered: the records may concern some of the nodes alone."""
        await super()._delivered(sink, batch)
        self.assertTrue(await until(lambda: sink.readiness() == Ready()), sink.readiness())


class ClusterVinTopicsTests(ClusterContract, TestCase):
    def make_harness(self) -> ClusterHarness:
        return ClusterHarness(sets=False)


class ClusterSetsTests(ClusterContract, TestCase):
    def make_harness(self) -> ClusterHarness:
        return ClusterHarness(sets=True)


class WireHarness(SingleHarness):
    async def set_up(self) -> None:
        self.server = the_server()
        self.server.start()
        self.subscriber = Subscriber(self.server.client(), patterns=["*"])


class WireTests(RedisWireContract, TestCase):
    vectors = VECTORS

    def make_wire_harness(self) -> WireHarness:
        return WireHarness(sets=False)

    def enter_members(self, harness: WireHarness, key: bytes, expires_in_s: Mapping[bytes, float]) -> None:
        with harness.client() as client:
            client.delete(key)
            now_s = time.time()
            if expires_in_s:
                client.zadd(key, {member: now_s + lease_s for member, lease_s in expires_in_s.items()})

    def published(self, harness: WireHarness, at_least: int) -> list[tuple[bytes, bytes]]:
        return harness.subscriber.wait_for(at_least)

    def members(self, harness: WireHarness, key: bytes) -> set[bytes]:
        with harness.client() as client:
            return {*client.zrange(key, 0, -1)}
