"""A Redis server in memory, and a pipe to it without sockets and threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import Reader

from fleetgw.adapters.sinks.redis.cluster import ClusterMap
from fleetgw.adapters.sinks.redis.command_stream import CommandStream
from fleetgw.adapters.sinks.redis.parts import Part
from fleetgw.adapters.sinks.redis.poison_records import Quarantined
from fleetgw.adapters.sinks.redis.settings import Address
from fleetgw.adapters.sinks.redis.waiting import Clocks
from fleetgw.domain.errors import NotConnected
from fleetgw.domain.ports import NotReady, Ready

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime

    from fleetgw.adapters.sinks.redis.connectors import Connector
    from fleetgw.adapters.sinks.redis.names import Names
    from fleetgw.adapters.sinks.redis.pipe import PipeListener
    from fleetgw.adapters.sinks.redis.settings import RedisSettings
    from fleetgw.domain.errors import DeliveryError
    from fleetgw.domain.records import Record

MEMORY_ADDRESS = Address("memory", 6379)
MANY_BYTES = 2**40


class ReactorClocks(Clocks):
    """Clocks with the wall clock of a test's reactor."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def epoch_s(self) -> float:
        """The time of the test's reactor."""
        return self._reactor.seconds()


class MemoryRedis:
    """A server with the commands that the sink needs, and the same replies.

    :ivar max_bulk_bytes: ``proto-max-bulk-len``.
    :ivar sets: sorted sets: member to score, by key.
    :ivar listens: whether a client subscribes to a channel.
    :ivar published: channel and payload, in order.
    :ivar errors: error replies, by the key or channel of the command.
    :ivar pipes: every pipe ever made.
    :ivar elsewhere: channels with a subscriber at another node of the cluster.
    """

    def __init__(self) -> None:
        self.max_bulk_bytes = 1_048_576
        self.sets: dict[bytes, dict[bytes, float]] = {}
        self.listens: Callable[[bytes], bool] = lambda _channel: True
        self.published: list[tuple[bytes, bytes]] = []
        self.errors: dict[bytes, bytes] = {}
        self.elsewhere: set[bytes] = set()
        self.down = False
        self.held = False
        self.pipes: list[MemoryPipe] = []

    def make_pipe(
        self,
        _name: str,
        _connector: Connector,
        names: Names,
        _settings: RedisSettings,
        listener: PipeListener,
        clocks: Clocks,
        *,
        alone: bool = False,
    ) -> MemoryPipe:
        """Make a pipe, in place of ``ThreadedPipe``."""
        pipe = MemoryPipe(self, names, listener, clocks, alone=alone)
        self.pipes.append(pipe)
        return pipe

    def hold(self) -> None:
        """Hold all replies."""
        self.held = True

    def release(self) -> None:
        """Reply again, also to the commands received meanwhile."""
        self.held = False
        for pipe in self.pipes:
            pipe.answer()

    def go_away(self) -> None:
        """Close every connection, and accept none."""
        self.down = True
        for pipe in self.pipes:
            pipe.lost("it closed the connection")

    def come_back(self) -> None:
        """Accept connections again."""
        self.down = False
        for pipe in self.pipes:
            pipe.connect()

    def execute(self, command: list[bytes]) -> bytes:
        """The reply to one command."""
        name, key, *rest = command
        if key in self.errors:
            return b"-%b\r\n" % self.errors[key]
        if name == b"PUBLISH":
            self.published.append((key, rest[0]))
            return b":%d\r\n" % self.listens(key)
        members = self.sets.setdefault(key, {})
        if name == b"ZREMRANGEBYSCORE":
            limit = float(rest[1].removeprefix(b"("))
            ended = [member for member, score in members.items() if score < limit]
            for member in ended:
                del members[member]
            return b":%d\r\n" % len(ended)
        live = sorted((score, member) for member, score in members.items() if score >= float(rest[0]))
        return b"*%d\r\n" % len(live) + b"".join(b"$%d\r\n%b\r\n" % (len(member), member) for _, member in live)


class MemoryPipe:
    """A ``Pipe`` to a ``MemoryRedis``: everything happens within ``submit``.

    :ivar alone: whether it is for quarantined records.
    :ivar submitted: every record, in order.
    """

    def __init__(
        self,
        server: MemoryRedis,
        names: Names,
        listener: PipeListener,
        clocks: Clocks,
        *,
        alone: bool,
    ) -> None:
        self.alone = alone
        self.submitted: list[Record] = []
        self._server = server
        self._names = names
        self._listener = listener
        self._clocks = clocks
        self._stream: CommandStream | None = None
        self._asked = Reader()
        self._again: list[Part] = []

    def start(self) -> None:
        """Connect."""
        self.connect()

    def submit(self, part: Part) -> None:
        """Publish the records, and take the replies unless the server holds them."""
        self.submitted += part.records
        if self._stream is None:
            part.fail(NotConnected(f"{MEMORY_ADDRESS}: it is down"))
            self._listener.parts_settled([part])
            return
        self._publish([part])

    def quit(self) -> None:
        """Close the connection."""
        stream, self._stream = self._stream, None
        for part in stream.unfinished() if stream is not None else ():
            part.fail(NotConnected("the sink is letting go"))
            self._listener.parts_settled([part])
        self._listener.pipe_closed(self)

    def connect(self) -> None:
        """Connect, if the server accepts connections."""
        if self._server.down:
            self._listener.pipe_changed(self, NotReady(f"{MEMORY_ADDRESS}: it is down"))
            return
        self._stream = CommandStream(self._names)
        self._asked = Reader()
        self._listener.pipe_changed(self, Ready())
        again, self._again = self._again, []
        if again:
            self._publish(again)

    def lost(self, reason: str) -> None:
        """Lose the connection."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        self._listener.parts_settled(stream.take_finished())
        parts = stream.unfinished()
        if stream.refused_too_large:
            self._again = parts
            self.connect()
            return
        error = NotConnected(f"{MEMORY_ADDRESS}: {reason}")
        self._listener.pipe_changed(self, NotReady(str(error)))
        for part in parts:
            part.fail(error)
        self._listener.parts_settled(parts)

    def quarantine(self, record: Record) -> None:
        """Quarantine a record in flight, as if connections were lost over it."""
        for part in self._stream.unfinished() if self._stream is not None else ():
            for place, each in enumerate(part.records):
                if each is record:
                    self._listener.parts_settled([_only(part, place, Quarantined("lost over this record"))])

    def answer(self) -> None:
        """Take the replies to all commands so far."""
        while self._stream is not None and not self._server.held:
            command = self._asked.gets()
            if command is False:
                return
            self._execute(command)

    def _execute(self, command: list[bytes]) -> None:
        stream = self._stream
        if stream is None:
            return
        too_large = max(map(len, command)) > self._server.max_bulk_bytes
        reply = b"-ERR Protocol error: invalid bulk length\r\n" if too_large else self._server.execute(command)
        # in two pieces, as a network may deliver it
        for piece in (reply[:1], reply[1:]):
            stream.receive(piece)
        self._asked.feed(stream.encode(MANY_BYTES))
        self._listener.parts_settled(stream.take_finished())
        if too_large:
            self.lost("it closed the connection")

    def _publish(self, parts: Sequence[Part]) -> None:
        stream = self._stream
        if stream is not None:
            stream.publish(parts, int(self._clocks.epoch_s()))
            self._asked.feed(stream.encode(MANY_BYTES))
            self._listener.parts_settled(stream.take_finished())
            self.answer()


def _only(part: Part, place: int, error: DeliveryError) -> Part:
    only = Part(part.dispatch, [part.indexes[place]], [part.records[place]])
    only.fail(error)
    return only


class MemoryClusterView:
    """A ``ClusterView`` of one node, which is a ``MemoryRedis``."""

    def __init__(self, server: MemoryRedis) -> None:
        self._server = server

    def read_map(self) -> ClusterMap:
        """A map with every slot at the one node."""
        if self._server.down:
            raise NotConnected(f"{MEMORY_ADDRESS}: it is down")
        return ClusterMap((MEMORY_ADDRESS,) * 16384, (MEMORY_ADDRESS,))

    def subscribed(self, channels: Sequence[bytes]) -> frozenset[bytes]:
        """The channels among ``MemoryRedis.elsewhere``."""
        return frozenset(self._server.elsewhere & {*channels})

    def close(self) -> None:
        """Do nothing: there are no connections."""
