"""Connectors and redis-py's connections over pairs of sockets: credentials, clusters, sentinels, leaks."""

import gc
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest import TestCase
from unittest.mock import patch

from hiredis import Reader
from redis.connection import Connection

from fleetgw.adapters.secrets.secret import SecretFile
from fleetgw.adapters.sinks.redis.cluster import RedisClusterView
from fleetgw.adapters.sinks.redis.command_stream import CommandStream
from fleetgw.adapters.sinks.redis.connectors import NodeConnector, SentinelConnector, ServerConnector
from fleetgw.adapters.sinks.redis.credentials import Credentials, FixedAccess
from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.server_connection import Refused, ServerConnection
from fleetgw.adapters.sinks.redis.settings import Address, read_settings
from fleetgw.adapters.sinks.redis.threaded_pipe import ThreadedPipe
from fleetgw.adapters.sinks.redis.waiting import Clocks
from fleetgw.adapters.sinks.support.dispatch import Dispatch
from fleetgw.domain.errors import FleetgwError, NotConnected
from fleetgw.simulator.certificates import make_authority, make_vehicle
from fleetgw.testing.sink_doubles import make_record
from tests.sinks.redis.test_unit_command_stream import names

USUAL = {"addrs": ["one:6379"], "publish_vin_topics": True}
WRONG = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"


class Answered(socket.socket):
    """A socket whose other end answers at once."""

    server: "Server"
    theirs: socket.socket
    asked: Reader

    def sendall(self, data: bytes, flags: int = 0) -> None:
        del flags
        self.asked.feed(data)
        while (command := self.asked.gets()) is not False:
            self.server.commands.append(command)
            self.theirs.sendall(self.server.answer(command))

    def close(self) -> None:
        self.theirs.close()
        super().close()


class Server:
    """Answers each command as soon as it is written, on the same thread.

    :ivar commands: every command, in order.
    """

    def __init__(self, answer: Callable[[list[bytes]], bytes]) -> None:
        self.answer = answer
        self.commands: list[list[bytes]] = []

    def connect(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        answered = Answered(fileno=ours.detach())
        answered.server, answered.theirs, answered.asked = self, theirs, Reader()
        return answered


@contextmanager
def servers(**by_host: Server):
    """All other hosts refuse connections."""

    def connect(connection: Connection) -> socket.socket:
        if connection.host not in by_host:
            raise ConnectionRefusedError(111, "Connection refused")
        return by_host[connection.host].connect()

    with patch.object(Connection, "_connect", connect):
        yield


def usual(command: list[bytes]) -> bytes:
    name = command[0].upper()
    if name == b"CLUSTER":
        return b"-ERR This instance has cluster support disabled\r\n"
    if name == b"ROLE":
        return b"*1\r\n$6\r\nmaster\r\n"
    return b"+PONG\r\n" if name == b"PING" else b"+OK\r\n"


def node_of_a_cluster(command: list[bytes]) -> bytes:
    if command[0].upper() == b"SELECT":
        return b"-ERR SELECT is not allowed in cluster mode\r\n"
    if command[0].upper() == b"CLUSTER":
        text = b"cluster_state:ok\r\ncluster_known_nodes:3\r\ncluster_size:3\r\n"
        return b"$%d\r\n%b\r\n" % (len(text), text)
    return usual(command)


class ClusterTests(TestCase):
    def found(self, answer: Callable[[list[bytes]], bytes], **settings: object) -> tuple[list[bool], str]:
        found: list[bool] = []
        access = FixedAccess(read_settings("redis", {**USUAL, **settings}))
        with servers(one=Server(answer), two=Server(answer)):
            try:
                ServerConnector(access, lambda: found.append(True))().disconnect()
            except NotConnected as error:
                return found, str(error)
        return found, ""

    def test_several_nodes_of_a_cluster(self) -> None:
        found, reason = self.found(node_of_a_cluster, addrs=["one:6379", "two:6379"])
        self.assertEqual((found, reason), ([True], "one:6379: is a node of a cluster"))

    def test_a_node_of_a_cluster_with_another_database(self) -> None:
        found, reason = self.found(node_of_a_cluster, db=3)
        self.assertEqual(found, [True])
        self.assertRegex(reason, "one:6379: is a node of a cluster, which has no database but 0")

    def test_several_servers_without_a_cluster(self) -> None:
        self.assertEqual(self.found(usual, addrs=["one:6379", "two:6379"]), ([], ""))

    def test_a_user_without_the_right_to_ask(self) -> None:
        def answer(command: list[bytes]) -> bytes:
            return b"-NOPERM no\r\n" if command[0] == b"CLUSTER" else usual(command)

        self.assertEqual(self.found(answer, addrs=["one:6379", "two:6379"]), ([], ""))


class SentinelTests(TestCase):
    def test_the_sentinel_that_answered_last_is_asked_first(self) -> None:
        def sentinel(command: list[bytes]) -> bytes:
            return b"*2\r\n$6\r\nmaster\r\n$4\r\n6379\r\n" if command[0] == b"SENTINEL" else usual(command)

        hung, good, master = Server(lambda _command: WRONG), Server(sentinel), Server(usual)
        section = {**USUAL, "addrs": ["hung:1", "good:2"], "sentinel": {"master_name": "m"}}
        connect = SentinelConnector(FixedAccess(read_settings("redis", section)), "m")
        with servers(hung=hung, good=good, master=master):
            for _ in range(5):
                connection = connect()
                self.assertEqual(connection.address, Address("master", 6379))
                connection.disconnect()
        self.assertEqual(len(hung.commands), 1)

    def test_the_last_master_of_several_servers_is_tried_first(self) -> None:
        def replica(command: list[bytes]) -> bytes:
            return b"*1\r\n$5\r\nslave\r\n" if command[0] == b"ROLE" else usual(command)

        other, master = Server(replica), Server(usual)
        connect = ServerConnector(FixedAccess(read_settings("redis", {**USUAL, "addrs": ["other:1", "master:2"]})))
        with servers(other=other, master=master):
            for _ in range(5):
                connect().disconnect()
        self.assertEqual([command[0] for command in other.commands].count(b"ROLE"), 1)


class CredentialsTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.read: list[list[str]] = []
        self.unusable: list[str] = []

    def write(self, name: str, content: bytes) -> None:
        """Replace a file atomically, as tools that rotate credentials do."""
        fresh = self.folder / "fresh"
        fresh.write_bytes(content)
        fresh.replace(self.folder / name)

    def credentials(self, **settings: object) -> Credentials:
        def read(files: object) -> None:
            self.read.append([Path(file).name for file in files])  # type: ignore[attr-defined]  # a list of names

        return Credentials("redis", {**USUAL, **settings}, read, self.unusable.append)

    def password(self, content: bytes = b"old\n") -> SecretFile:
        self.write("pw", content)
        return SecretFile.read(self.folder / "pw")

    def test_a_password_is_read_again_before_each_connection(self) -> None:
        server = Server(usual)
        credentials = self.credentials(password=self.password())
        with servers(one=server):
            ServerConnector(credentials)().disconnect()
            self.write("pw", b"new\n")
            ServerConnector(credentials)().disconnect()
            NodeConnector(Address("one", 6379), credentials)().disconnect()
        self.assertEqual([command[1] for command in server.commands if command[0] == b"AUTH"], [b"old", b"new", b"new"])
        self.assertEqual((self.read, self.unusable), [["pw"]] and ([["pw"]], []))

    def test_a_password_of_sentinels_is_read_again(self) -> None:
        credentials = self.credentials(sentinel={"master_name": "m", "password": self.password()})
        self.write("pw", b"new")
        self.assertEqual(credentials.current().sentinel_login.password, "new")

    def test_after_a_refusal_it_is_read_although_its_times_are_unchanged(self) -> None:
        """The file was replaced by one of the same size, within the resolution of the file system's clock."""
        server = Server(lambda command: usual(command) if command[1:2] != [b"old"] else WRONG)
        credentials = self.credentials(password=self.password())
        path = self.folder / "pw"
        before = path.stat()
        with path.open("r+b") as file:
            file.write(b"new\n")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        with servers(one=server):
            with self.assertRaisesRegex(NotConnected, "WRONGPASS|invalid username-password"):
                ServerConnector(credentials)()
            ServerConnector(credentials)().disconnect()
        self.assertEqual(self.read, [], "no file has changed")

    def test_a_file_that_cannot_be_used_leaves_the_old_content_in_use(self) -> None:
        credentials = self.credentials(password=self.password())
        self.write("pw", b"")
        self.assertEqual(credentials.current().login.password, "old")
        self.assertRegex(self.unusable[0], "pw is empty")
        with self.assertRaisesRegex(FleetgwError, "pw is empty"):
            credentials.reload()
        self.write("pw", b"new")
        self.assertEqual([Path(name).name for name in credentials.reload()], ["pw"])
        self.assertEqual(credentials.current().login.password, "new")
        self.assertEqual(credentials.reload(), ())

    def test_certificates_are_read_again(self) -> None:
        now = datetime.now(UTC)
        authority, other = make_authority(now, 30, "a"), make_authority(now, 30, "b")
        mine = make_vehicle(authority, "gateway", now, 30)
        self.write("ca", authority.certificate_pem())
        self.write("cert", mine.certificate_pem())
        self.write("key", mine.key_pem())
        tls = {"ca_file": str(self.folder / "ca"), "server_cert": str(self.folder / "cert")}
        credentials = self.credentials(tls={**tls, "server_key": str(self.folder / "key")})
        before = credentials.current().tls
        self.assertIs(credentials.current().tls, before)
        self.write("ca", other.certificate_pem())
        after = credentials.current().tls
        assert after is not None
        self.assertEqual([dict(each[0] for each in ca["subject"])["commonName"] for ca in after.get_ca_certs()], ["b"])
        self.assertEqual(self.read, [["ca"]])
        stranger = make_vehicle(other, "stranger", now, 30)
        self.write("cert", stranger.certificate_pem())  # its key is not written yet
        self.assertIs(credentials.current().tls, after)
        self.assertRegex(self.unusable[0], r"redis\.tls: cannot be used: server_cert .*/cert, server_key .*/key")
        self.write("key", stranger.key_pem())
        self.assertIsNot(credentials.current().tls, after)
        self.assertEqual(sorted(self.read[-1]), ["cert", "key"])

    def test_the_case_of_keys_does_not_matter(self) -> None:
        now = datetime.now(UTC)
        self.write("ca", make_authority(now, 30, "a").certificate_pem())
        credentials = self.credentials(TLS={"CA_file": str(self.folder / "ca")})
        self.write("ca", make_authority(now, 30, "b").certificate_pem())
        self.assertEqual([Path(name).name for name in credentials.reload()], ["ca"])

    def test_an_intermediate_alone_may_be_trusted(self) -> None:
        """As in Go."""
        now = datetime.now(UTC)
        self.write("ca", make_authority(now, 30, "a").certificate_pem())
        context = self.credentials(tls={"ca_file": str(self.folder / "ca")}).current().tls
        assert context is not None
        self.assertTrue(context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN)

    def test_an_alert_of_tls_is_a_refusal(self) -> None:
        connection = ServerConnection(Address("one", 1), read_settings("redis", USUAL), read_settings("redis", USUAL).login)
        wrapped = ConnectionError("Error while reading")
        wrapped.__context__ = ssl.SSLError(1, "tlsv13 alert certificate required")
        self.assertIsInstance(connection._unusable(wrapped), Refused)
        self.assertNotIsInstance(connection._unusable(ConnectionError("refused")), Refused)


class LostConnectionsTests(TestCase):
    """Lost connections are freed without the garbage collector."""

    COUNT = 1000

    def parts_settled(self, parts: object) -> None:
        """See ``PipeListener``."""

    def pipe_changed(self, _pipe: object, _readiness: object) -> None:
        """See ``PipeListener``."""

    def pipe_closed(self, _pipe: object) -> None:
        """See ``PipeListener``."""

    def left(self, do: Callable[[], None]) -> dict[str, int]:
        """Number of objects of a connection that ``do`` leaves in memory, by class."""
        kinds = (ServerConnection, CommandStream, Part, socket.socket, ssl.SSLContext, NotConnected)
        do()  # first, for objects that stay
        gc.collect()
        before = {id(each) for each in gc.get_objects() if isinstance(each, kinds)}
        gc.disable()
        self.addCleanup(gc.enable)
        for _ in range(self.COUNT):
            do()
        left = [type(each).__name__ for each in gc.get_objects() if isinstance(each, kinds) and id(each) not in before]
        gc.enable()
        return {name: left.count(name) for name in left}

    def test_lost_with_a_record_in_flight(self) -> None:
        access = FixedAccess(read_settings("redis", USUAL))
        server = Server(lambda command: b"" if command[0] == b"PUBLISH" else usual(command))
        pipe = ThreadedPipe("test", ServerConnector(access), names(set_prefix=""), access.current(), self, Clocks())

        def lose() -> None:
            pipe._resend = []
            pipe._detector.reset()
            record = make_record("VIN0")
            connection = ServerConnector(access)()
            taken = connection.take_socket()
            taken.shutdown(socket.SHUT_RD)
            pipe.submit(Part(Dispatch([record]), [0], [record]))
            with patch.object(pipe, "_pause"):
                pipe._use(connection)
            connection.disconnect()

        self.addCleanup(pipe._waker.close)
        with servers(one=server):
            left = self.left(lose)
        pipe._resend = []
        self.assertLess(sum(left.values()), 20, left)

    def test_refused(self) -> None:
        section = {**USUAL, "addrs": ["one:6379", "two:6379"], "password": "pw"}
        access = FixedAccess(read_settings("redis", section))
        listener = self
        with servers(one=Server(lambda _command: WRONG)):
            pipe = ThreadedPipe("test", ServerConnector(access), names(set_prefix=""), access.current(), listener, Clocks())

            self.addCleanup(pipe._waker.close)

            def refuse() -> None:
                with patch.object(pipe, "_pause", lambda _error: setattr(pipe, "_quitting", True)):
                    pipe._quitting = False
                    self.assertIsNone(pipe._connect())

            left = self.left(refuse)
        self.assertLess(sum(left.values()), 20, left)

    def test_a_server_that_replies_with_errors(self) -> None:
        def answer(command: list[bytes]) -> bytes:
            return b"-NOPERM no\r\n" if command[0] in (b"PING", b"ROLE") else usual(command)

        access = FixedAccess(read_settings("redis", {**USUAL, "addrs": ["one:6379", "two:6379"]}))
        with servers(one=Server(answer)):
            left = self.left(lambda: ServerConnector(access)().disconnect())
        self.assertLess(sum(left.values()), 20, left)

    def test_a_map_of_a_cluster_that_cannot_be_read(self) -> None:
        view = RedisClusterView(FixedAccess(read_settings("redis", USUAL)))

        def ask() -> None:
            with self.assertRaises(NotConnected):
                view.read_map()
            self.assertEqual(view.subscribed([b"channel"]), frozenset())

        with servers(one=Server(usual)):
            left = self.left(ask)
            view.close()
        self.assertLess(sum(left.values()), 20, left)


class ClusterViewTests(TestCase):
    def test_nodes_that_are_all_avoided_are_asked(self) -> None:
        """Servers that are back must be found at once, not two seconds later."""
        view = RedisClusterView(FixedAccess(read_settings("redis", USUAL)))
        slots = b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$3\r\none\r\n:6379\r\n"

        def answer(command: list[bytes]) -> bytes:
            return slots if command[0] == b"CLUSTER" else usual(command)

        with servers():
            for _ in range(2):
                with self.assertRaisesRegex(NotConnected, "Connection refused"):
                    view.read_map()
        with servers(one=Server(answer)):
            self.assertEqual(view.read_map().nodes, (Address("one", 6379),))
            view.close()
