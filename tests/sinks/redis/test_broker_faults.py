"""The ``redis`` sink with real servers that fail, move, or are of the wrong kind."""

import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis
from twisted.internet import task, utils
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.sinks.redis.type import REDIS
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.errors import NotConnected, Rejected, Retryable, Unheard
from fleetgw.domain.ports import RECEIPT, IDispatcher, NotReady, Outcome, Ready, Receipt
from fleetgw.domain.records import Record
from fleetgw.testing.real_reactor import pause, the_reactor, until
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, make_record
from tests.support.deadline import DEADLINE_S
from tests.support.delivery import Delivery
from tests.support.free_ports import free_port
from tests.support.needed import needed
from tests.support.redis.servers import RedisServer, SentinelledServers, ServerCluster, eventually, missing
from tests.support.redis.subscriber import Subscriber

EXAMPLE = Path(__file__).parents[3] / "examples" / "consumers" / "redis_subscriber.py"
VIN = "5YJ3E1EA7KF000001"
CHANNEL = f"ns_V_{{{VIN}}}"
SET_KEY = f"subs_{CHANNEL}"
VIN_TOPICS = {"publish_vin_topics": True}
SETS = {"subscriber_set_prefix": "subs"}
PATIENT_NS = 60 * 10**9
"""``publish_timeout`` of tests that expect an answer, however busy the machine is."""


def channel(vin: str) -> str:
    return f"ns_V_{{{vin}}}"


class RedisCase(TestCase):
    """Ends the servers and sinks that a test has started."""

    timeout = DEADLINE_S

    def setUp(self) -> None:
        needed(missing())
        self.log, self.metrics = ReadableLog(), ReadableMetrics()

    def server(self, *arguments: str, **more: object) -> RedisServer:
        server = RedisServer(*arguments, **more)
        self.addCleanup(server.stop)
        self.addCleanup(server.resume)
        return server

    def subscriber(self, client: Redis, *channels: str) -> Subscriber:
        subscriber = Subscriber(client, *channels)
        self.addCleanup(subscriber.close)
        return subscriber

    async def sink(self, address: str, **settings: object) -> IDispatcher:
        section = {"addrs": [address], **(settings or VIN_TOPICS)}
        if "subscriber_set_prefix" not in section:
            section |= VIN_TOPICS
        sink = REDIS.make(SinkContext("redis", section, "ns", ("V",), the_reactor(), self.metrics, self.log))
        await sink.start()
        self.addCleanup(sink.stop)
        return sink

    async def until(self, holds) -> None:
        self.assertTrue(await until(holds), "waited in vain")

    async def delivered(self, sink: IDispatcher, records: list[Record]) -> None:
        await Delivery(sink).deliver(records)

    async def outcome(self, sink: IDispatcher, record: Record | None = None) -> Outcome:
        (outcome,) = await sink.dispatch([record or make_record(VIN)])
        return outcome


def deferred(test):
    """Return a Deferred, as the tests of the contract do: trial and pytest wait for it."""

    def wrapper(self) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    wrapper.__doc__ = test.__doc__
    wrapper.__name__ = test.__name__
    return wrapper


class SingleServerTests(RedisCase):
    @deferred
    async def test_killed_mid_stream(self) -> None:
        """SIGKILL twice with records in flight: the subscriber has every record with a receipt, and new ones are delivered.

        The server hangs before it dies: one that is killed between answering the publisher and writing to the subscriber
        loses what it has answered for, and pub/sub has no way to know.
        """
        server = self.server()
        subscriber = self.subscriber(server.client(), CHANNEL)
        sink = await self.sink(server.address, publish_timeout=1_000_000_000)
        read = task.LoopingCall(subscriber.read)
        delivery = Delivery(sink, pause_s=0.05)
        read.start(0.002)
        for number in range(120):
            delivery.begin([make_record(VIN, payload=b"%d.%d" % (number, index)) for index in range(20)])
            if number in (40, 80):
                await pause(0.05)
                server.pause()
            if number in (45, 85):
                read.stop()
                server.kill()
                await pause(0.05)
                subscriber.read()  # bytes that had been sent to it
                server.start()
                subscriber.subscribed()
                read.start(0.002)
            await pause(0.003)
        await delivery.done()
        read.stop()
        subscriber.wait_for(2400)
        got = {payload for _, payload in subscriber.received}
        self.assertEqual(len(delivery.confirmed), 2400)
        self.assertGreater(delivery.retried, 0, "nothing was lost on the way: the test shows nothing")
        self.assertEqual({record.payload for record in delivery.confirmed} - got, set())

    @deferred
    async def test_hangs(self) -> None:
        """SIGSTOP: no reply within ``publish_timeout`` is retryable; afterwards records are delivered again."""
        server = self.server()
        self.subscriber(server.client(), CHANNEL)
        sink = await self.sink(server.address, publish_timeout=300_000_000)
        await self.delivered(sink, [make_record(VIN)])
        server.pause()
        outcome = await self.outcome(sink)
        self.assertIsInstance(outcome, NotConnected)
        self.assertRegex(str(outcome), f"{server.address}: no answer within 0.3 s")
        self.assertIsInstance(sink.readiness(), NotReady)
        outcome = await self.outcome(sink)
        self.assertIsInstance(outcome, NotConnected)
        server.resume()
        await self.delivered(sink, [make_record(VIN)])
        self.assertEqual(sink.readiness(), Ready())

    @deferred
    async def test_expired_subscriptions(self) -> None:
        """An expired entry is removed, and receives nothing."""
        server = self.server()
        subscriber = self.subscriber(server.client(), "gone", "here")
        with server.client() as client:
            client.zadd(SET_KEY, {"gone": time.time() - 2, "here": time.time() + 60})
            sink = await self.sink(server.address, **SETS)
            await self.delivered(sink, [make_record(VIN), make_record(VIN)])
            self.assertEqual(client.zrange(SET_KEY, 0, -1), [b"here"])
        self.assertEqual([name for name, _ in subscriber.wait_for(2)], [b"here", b"here"])

    @deferred
    async def test_no_subscriber(self) -> None:
        """Without a subscriber, or with an entry of an absent one: no receipt and no error; others are delivered."""
        server = self.server()
        sink = await self.sink(server.address, **SETS, **VIN_TOPICS)
        with server.client() as client:
            client.zadd(SET_KEY, {"nobody there": time.time() + 60})
        self.subscriber(server.client(), channel("other"))
        outcomes = await sink.dispatch([make_record(VIN), make_record("other"), make_record(VIN)])
        self.assertEqual([type(outcome) for outcome in outcomes], [Unheard, Receipt, Unheard])
        self.assertEqual(self.metrics.value("redis_no_receiver_total", "V"), 2)
        self.assertEqual(self.metrics.value("redis_publish_total", "V"), 1)
        self.assertEqual(self.metrics.value("redis_err", "V"), 0)
        self.assertEqual(self.log.fields_of("redis_err"), [])
        self.assertEqual(sink.readiness(), Ready())

    @deferred
    async def test_too_large_among_many(self) -> None:
        """Of several batches in flight only the records that are too large are rejected; order is kept."""
        server = self.server("--proto-max-bulk-len", "1mb")
        subscriber = self.subscriber(server.client(), CHANNEL)
        sink = await self.sink(server.address)
        large = bytes(1_100_000)
        records = [make_record(VIN, payload=large if number in (7, 8, 31) else b"%d" % number) for number in range(50)]
        answers = [sink.dispatch(records[start : start + 10]) for start in range(0, 50, 10)]
        outcomes = [outcome for answer in answers for outcome in await answer]
        refused = [number for number, outcome in enumerate(outcomes) if outcome is not RECEIPT]
        self.assertEqual(refused, [7, 8, 31])
        self.assertEqual({type(outcomes[number]) for number in refused}, {Rejected})
        expected = [record.payload for record in records if record.payload is not large]
        self.assertEqual([payload for _, payload in subscriber.wait_for(len(expected))], expected)

    @deferred
    async def test_the_server_closes_over_a_poison_record(self) -> None:
        """``client-query-buffer-limit``: the record is quarantined, and the others are delivered."""
        server = self.server("--client-query-buffer-limit", "1mb")
        subscriber = self.subscriber(server.client(), *(channel(f"VIN{number}") for number in range(40)))
        sink = await self.sink(server.address)
        records = [make_record(f"VIN{number}", payload=bytes(2_000_000 if number == 17 else 10)) for number in range(40)]
        left, rounds = records, 0
        while len(left) > 1 and rounds < 10:
            outcomes = await sink.dispatch(left)
            left = [record for record, outcome in zip(left, outcomes, strict=True) if outcome is not RECEIPT]
            rounds += 1
        self.assertEqual(left, [records[17]])
        for _ in range(2):
            outcome = await self.outcome(sink, records[17])
            self.assertIsInstance(outcome, Retryable)
            self.assertNotIsInstance(outcome, NotConnected)
            self.assertEqual(await self.outcome(sink, records[0]), RECEIPT)
        self.assertGreaterEqual(len(subscriber.wait_for(41)), 41)

    @deferred
    async def test_a_password_that_is_rotated(self) -> None:
        """The server and the file have a new password; the sink uses it without a restart."""
        server = self.server("--requirepass", "old")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        file = Path(folder.name) / "pw"
        file.write_text("old\n")
        sink = await self.sink(server.address, password=SecretFile.read(file))
        self.subscriber(server.client(password="old"), CHANNEL)
        await self.delivered(sink, [make_record(VIN)])
        with server.client(password="old") as client:
            client.config_set("requirepass", "new")
            client.client_kill_filter(_type="normal", skipme=True)
        await self.until(lambda: isinstance(sink.readiness(), NotReady))
        file.write_text("new\n")
        await self.until(lambda: sink.readiness() == Ready())
        await self.delivered(sink, [make_record(VIN)])
        self.assertEqual(self.log.fields_of("credentials_reloaded")[0]["files"], [str(file)])

    @deferred
    async def test_key_of_another_type(self) -> None:
        """Records of a vehicle with a set of another type are rejected, and delay no others."""
        server = self.server()
        sink = await self.sink(server.address, **SETS)
        with server.client() as client:
            client.set(SET_KEY, "a text")
        outcome = await self.outcome(sink)
        self.assertIsInstance(outcome, Rejected)
        self.assertRegex(str(outcome), "WRONGTYPE")
        self.assertEqual(self.metrics.value("redis_err", "V"), 1)

    @deferred
    async def test_several_connections(self) -> None:
        """With ``pool_size`` each vehicle keeps its order."""
        server = self.server()
        vins = [f"VIN{number}" for number in range(12)]
        subscriber = self.subscriber(server.client(), *map(channel, vins))
        sink = await self.sink(server.address, pool={"pool_size": 4})
        await self.until(lambda: sink.readiness() == Ready())
        with server.client() as client:
            self.assertGreaterEqual(len(client.client_list(_type="normal")), 4)
        records = [make_record(vins[number % 12], payload=b"%d" % number) for number in range(1200)]
        for answer in [sink.dispatch(records[start : start + 60]) for start in range(0, 1200, 60)]:
            self.assertEqual({*await answer}, {RECEIPT})
        got = subscriber.wait_for(1200)
        for index, vin in enumerate(vins):
            numbers = [int(payload) for name, payload in got if name.decode() == channel(vin)]
            self.assertEqual(numbers, list(range(index, 1200, 12)))

    @deferred
    async def test_connections_are_replaced(self) -> None:
        """``conn_max_lifetime``: a connection of that age is replaced without the loss of a record."""
        server = self.server()
        self.subscriber(server.client(), CHANNEL)
        sink = await self.sink(server.address, pool={"conn_max_lifetime": 100_000_000})
        with server.client() as client:
            before = client.info("stats")["total_connections_received"]
            for _ in range(50):
                self.assertEqual(await self.outcome(sink), RECEIPT)
                await pause(0.01)
            self.assertGreater(client.info("stats")["total_connections_received"], before + 2)


class ExampleTests(RedisCase):
    @deferred
    async def test_consumer(self) -> None:
        """The consumer of the documentation, with and without a set."""
        server = self.server()
        for settings, arguments in ((VIN_TOPICS, []), (SETS | {"publish_vin_topics": False}, ["--prefix", "subs"])):
            sink = await self.sink(server.address, **settings)
            shown: Deferred[bytes] = utils.getProcessOutput(
                sys.executable, [str(EXAMPLE), server.address, "ns", VIN, "--count", "2", *arguments], os.environ
            )
            await self.delivered(sink, [make_record(VIN, payload=b'{"first":1}')])
            await self.delivered(sink, [make_record(VIN, payload=b'{"second":2}')])
            self.assertEqual(await shown, f'{VIN} {{"first":1}}\n{VIN} {{"second":2}}\n'.encode())
        with server.client() as client:
            self.assertEqual(client.zrange(SET_KEY, 0, -1), [])


class WrongServerTests(RedisCase):
    async def not_ready(self, address: str, reason: str, **settings: object) -> IDispatcher:
        sink = await self.sink(address, **{"publish_timeout": PATIENT_NS, **settings})
        outcome = await self.outcome(sink)
        self.assertIsInstance(outcome, Retryable)
        self.assertRegex(str(outcome), reason)
        readiness = sink.readiness()
        self.assertIsInstance(readiness, NotReady)
        self.assertRegex(readiness.reason, reason)
        self.assertRegex(str(self.log.fields_of("redis_err")[0]["error"]), reason)
        self.assertGreater(self.metrics.value("redis_err", "V"), 0)
        return sink

    @deferred
    async def test_no_server(self) -> None:
        address = f"127.0.0.1:{free_port()}"
        await self.not_ready(address, f"{address}: .*Connection refused")

    @deferred
    async def test_name_that_does_not_resolve(self) -> None:
        await self.not_ready("no-such-host.invalid:6379", "no-such-host.invalid:6379: ")

    @deferred
    async def test_wrong_password(self) -> None:
        server = self.server("--requirepass", "right")
        self.subscriber(server.client(password="right"), CHANNEL)
        await self.not_ready(server.address, "invalid username-password pair", password="wrong")
        self.log.entries.clear()
        await self.not_ready(server.address, "Authentication required")
        right = await self.sink(server.address, password="right")
        await self.delivered(right, [make_record(VIN)])
        self.assertNotIn("right", str(self.log.entries))

    @deferred
    async def test_missing_permission(self) -> None:
        """Retryable, as an operator can grant it; the reason names the permission."""
        server = self.server("--user", "narrow", "on", ">pw", "resetchannels", "+@all")
        sink = await self.not_ready(server.address, "NOPERM|No permissions", username="narrow", password="pw")
        self.subscriber(server.client(), CHANNEL)
        with server.client() as client:
            client.acl_setuser("narrow", enabled=True, channels=["*"])
        await self.delivered(sink, [make_record(VIN)])
        self.assertEqual(sink.readiness(), Ready())

    @deferred
    async def test_database_that_does_not_exist(self) -> None:
        server = self.server()
        await self.not_ready(server.address, "DB index is out of range", db=99)

    @deferred
    async def test_tls_towards_a_server_without(self) -> None:
        server = self.server()
        await self.not_ready(server.address, "(?i)ssl|tls|timeout|closed", tls={}, publish_timeout=1_000_000_000)

    @deferred
    async def test_cluster_mode_with_a_single_server(self) -> None:
        server = self.server()
        await self.not_ready(server.address, "cluster support disabled", cluster_mode=True)

    @deferred
    async def test_a_server_of_another_kind(self) -> None:
        """A server that never replies, and one with another protocol."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        await self.not_ready(address, f"{address}: Timeout", publish_timeout=200_000_000)
        self.log.entries.clear()
        from twisted.internet import reactor
        from twisted.web.resource import Resource
        from twisted.web.server import Site

        port = reactor.listenTCP(0, Site(Resource()), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        await self.not_ready(f"127.0.0.1:{port.getHost().port}", f"127.0.0.1:{port.getHost().port}: ")


class SentinelTests(RedisCase):
    @deferred
    async def test_failover(self) -> None:
        """The master ends; the sink connects to the replica that the sentinel promotes."""
        servers = SentinelledServers()
        self.addCleanup(servers.stop)
        self.subscriber(servers.master.client(), CHANNEL)
        sink = await self.sink(
            servers.sentinel.address,
            sentinel={"master_name": servers.master_name},
            publish_timeout=1_000_000_000,
        )
        await self.delivered(sink, [make_record(VIN)])
        servers.master.kill()
        moved = self.subscriber(servers.replica.client(), CHANNEL)
        read = task.LoopingCall(moved.read)  # a new master ends all connections: the client subscribes again
        read.start(0.05)
        self.addCleanup(read.stop)
        await self.delivered(sink, [make_record(VIN, payload=b"after the failover")])
        self.assertEqual(moved.wait_for(1), [(CHANNEL.encode(), b"after the failover")])
        self.assertEqual(sink.readiness(), Ready())

    @deferred
    async def test_unknown_master(self) -> None:
        sentinel = self.server(sentinel=True)
        sink = await self.sink(sentinel.address, sentinel={"master_name": "nobody"})
        outcome = await self.outcome(sink)
        self.assertEqual(str(outcome), f"sentinel {sentinel.address}: knows no master nobody")

    @deferred
    async def test_a_replica_among_several_servers_is_not_used(self) -> None:
        master = self.server()
        replica = self.server("--replicaof", "127.0.0.1", str(master.port))
        with replica.client() as client:
            eventually(lambda: client.info("replication")["master_link_status"] == "up")
        subscriber = self.subscriber(master.client(), CHANNEL)
        sink = await self.sink(replica.address, addrs=[replica.address, master.address])
        await self.delivered(sink, [make_record(VIN)])
        self.assertEqual(len(subscriber.wait_for(1)), 1)


class ClusterTests(RedisCase):
    VINS = [f"VIN{number:014d}" for number in range(12)]

    def cluster(self, **more: bool) -> ServerCluster:
        cluster = ServerCluster(**more)
        self.addCleanup(cluster.stop)
        return cluster

    async def cluster_sink(self, cluster: ServerCluster, **settings: object) -> IDispatcher:
        addrs = [node.address for node in cluster.nodes]
        return await self.sink(addrs[0], **{"addrs": addrs, "cluster_mode": True, "publish_timeout": PATIENT_NS, **settings})

    @deferred
    async def test_receivers_at_any_node_count(self) -> None:
        """A client at any node, also a replica, is a receiver; without one there is no receipt."""
        cluster = self.cluster(replicas=True)
        sink = await self.cluster_sink(cluster)
        heard = self.VINS[:6]
        replica = cluster.nodes[-1]
        subscriber = self.subscriber(replica.client(), *map(channel, heard))
        outcomes = await sink.dispatch([make_record(vin) for vin in self.VINS])
        self.assertEqual([type(outcome) for outcome in outcomes], [Receipt] * 6 + [Unheard] * 6)
        self.assertEqual({name.decode() for name, _ in subscriber.wait_for(6)}, {*map(channel, heard)})

        # and then a master dies: its replica takes over, and the sink finds it
        lost = cluster.master_of(channel(heard[0]).encode())
        lost.kill()
        await self.delivered(sink, [make_record(vin, payload=b"after") for vin in heard])
        await self.until(lambda: sink.readiness() == Ready())
        self.assertEqual({name.decode() for name, _ in subscriber.wait_for(12)}, {*map(channel, heard)})

    @deferred
    async def test_nodes_of_a_cluster_without_cluster_mode(self) -> None:
        """Several addresses, and one: records of all vehicles are delivered, and the sink logs once which key to set."""
        cluster = self.cluster()
        for vin in self.VINS:
            with cluster.master_of(f"subs_{channel(vin)}".encode()).client() as client:
                client.zadd(f"subs_{channel(vin)}", {f"viewer of {vin}": time.time() + 60})
        self.subscriber(cluster.nodes[0].client(), *(f"viewer of {vin}" for vin in self.VINS))
        every = [node.address for node in cluster.nodes]
        for addrs, more in ((every, {}), (every[:1], {}), (every, {"db": 3})):
            self.log.entries.clear()
            sink = await self.sink(every[0], **{**SETS, **more, "addrs": addrs, "publish_vin_topics": False})
            await self.delivered(sink, [make_record(vin) for vin in self.VINS])
            await self.until(lambda sink=sink: sink.readiness() == Ready())
            self.assertEqual(len(self.log.fields_of("redis_cluster_found")), 1)

    @deferred
    async def test_a_node_that_hangs(self) -> None:
        """Records for the node are retried; those for other nodes are delivered, and do not wait for it each time."""
        cluster = self.cluster()
        sink = await self.cluster_sink(cluster, publish_timeout=3_000_000_000)
        nodes = {vin: cluster.master_of(channel(vin).encode()) for vin in self.VINS}
        hung = nodes[self.VINS[0]]
        others = [vin for vin in self.VINS if nodes[vin] is not hung]
        for vin in others[:-1]:
            self.subscriber(nodes[vin].client(), channel(vin))
        await self.delivered(sink, [make_record(vin) for vin in others[:-1]])
        hung.pause()
        outcome = await self.outcome(sink, make_record(self.VINS[0]))
        self.assertIsInstance(outcome, Retryable)
        self.assertNotIsInstance(outcome, NotConnected)
        self.assertIsInstance(sink.readiness(), NotReady)
        self.assertIsInstance(await self.outcome(sink, make_record(others[-1])), Unheard)
        began_s = time.monotonic()
        for _ in range(10):
            outcomes = await sink.dispatch([make_record(vin) for vin in others])
            self.assertEqual([type(outcome) for outcome in outcomes], [Receipt] * (len(others) - 1) + [Unheard])
        self.assertLess(time.monotonic() - began_s, 10 * 3, "each waited for the node")
        hung.resume()
        self.subscriber(hung.client(), channel(self.VINS[0]))
        await self.delivered(sink, [make_record(self.VINS[0])])

    @deferred
    async def test_slot_that_moves(self) -> None:
        """A vehicle's set moves to another node: the sink publishes there."""
        cluster = self.cluster()
        sink = await self.cluster_sink(cluster, **SETS)
        source = cluster.master_of(SET_KEY.encode())
        target = next(node for node in cluster.nodes if node is not source)
        subscriber = self.subscriber(target.client(), "mine")
        with source.client() as client:
            client.zadd(SET_KEY, {"elsewhere": time.time() + 60})
        self.assertIsInstance(await self.outcome(sink), Unheard)
        with source.client() as old, target.client() as new:
            slot = old.execute_command("CLUSTER", "KEYSLOT", SET_KEY)
            old.delete(SET_KEY)
            new_id = new.execute_command("CLUSTER", "MYID").decode()
            for node in cluster.nodes:
                with node.client() as client:
                    client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", new_id)
            new.zadd(SET_KEY, {"mine": time.time() + 60})
        outcome = await self.outcome(sink)
        self.assertRegex(str(outcome), "MOVED")
        await self.delivered(sink, [make_record(VIN, payload=b"moved")])
        self.assertEqual(subscriber.wait_for(1), [(b"mine", b"moved")])
