"""The common base of gateways inside a program, under Twisted and under asyncio."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed

from fleetgw.adapters.logs.python_logging import PythonLog
from fleetgw.adapters.sinks.embedded.sink import EmbeddedSink
from fleetgw.app.service.composition import compose
from fleetgw.app.service.life import GatewayLife
from fleetgw.embed.configuring import SINK, ProgramConfiguration
from fleetgw.embed.listening import Listeners, Listening, make_filter
from fleetgw.embed.reading import ReadBuffer, ReaderContext, Records

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping
    from types import TracebackType
    from typing import Self

    from fleetgw.app.config import Config, LoadedConfig
    from fleetgw.app.service.composition import IGatewayReactor, Parts
    from fleetgw.embed.listening import Listener, Names
    from fleetgw.embed.reading import WhenSlow


@frozen
class Connection:
    """A snapshot of one connection of a vehicle.

    :ivar connection_id: id of the connection, as in its ``connectivity`` records.
    :ivar client_type: client type by the certificate, such as ``vehicle_device``.
    :ivar device_client_version: version of the vehicle's software; empty where the vehicle does not send one.
    :ivar network_interface: the vehicle's network, such as ``wifi``; empty where the vehicle does not send one.
    :ivar remote: ``host:port`` of the peer.
    :ivar connected_s: seconds since the upgrade.
    """

    vin: str
    connection_id: str
    client_type: str
    device_client_version: str
    network_interface: str
    remote: str
    connected_s: float


@frozen
class _Made:
    """The parts of a gateway, not started."""

    loaded: LoadedConfig
    parts: Parts
    life: GatewayLife


class EmbeddedGateway:
    """Base of ``Gateway`` and ``TwistedGateway``. Everything is called on the reactor's thread, except ``_make``."""

    def __init__(
        self,
        config: Mapping[str, object] | Config,
        *,
        base_dir: str | Path | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        """Nothing is read and nothing listens before the start.

        :param config: as in the configuration file: ``{"port": 4443, "tls": {...}, "records": {"V": ["embedded"]}}``; or a
            ``fleetgw.app.config.Config``. Without ``records``, all known record types go to the listeners.
        :param base_dir: the folder of relative paths in ``config``; default: the working directory.
        :param logger: the destination of log events; default: ``logging.getLogger("fleetgw")``. Its level counts, not
            ``log_level``.
        """
        self._config = config
        self._base_dir = base_dir
        self._log = PythonLog(logger or logging.getLogger("fleetgw"))
        self._listeners = Listeners(self._adopt)
        self._reactor: IGatewayReactor | None = None
        self._made: _Made | None = None
        self._buffers: list[ReadBuffer] = []

    @staticmethod
    def _adopt(awaitable: Awaitable[object]) -> Deferred[object]:
        """Run the awaitable that a listener returned."""
        raise NotImplementedError

    @staticmethod
    def _awaiting(waker: Deferred[None]) -> Awaitable[None]:
        """An awaitable for the program's coroutines."""
        raise NotImplementedError

    def start(self) -> Awaitable[None]:
        """Read and check the configuration, start the sinks, and accept vehicles."""
        raise NotImplementedError

    def _end(self, *, abandon_readers: bool) -> Awaitable[None]:
        """Stop in order, once, however often it is called."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # readers read no more after an exception
        await self._end(abandon_readers=error is not None)

    def listen(self, listener: Listener, *, vin: Names = None, record_type: Names = None, field: Names = None) -> Listening:
        """Call ``listener`` with every ``Record`` that matches. Call it before the start in order to miss no record.

        A listener gets the records of one vehicle one after the other, in order. It is a plain function, or returns an
        awaitable or a Deferred, and has then handled the record when this is done. Records of types with
        ``reliable_ack_sources: {...: "embedded"}`` are acknowledged when all listeners have handled them. A record whose
        listener raises, or takes longer than ``embedded.listener_timeout_s``, is not acknowledged, and is delivered again.

        :param vin: only records of this vehicle, or these vehicles.
        :param record_type: only records of this type, or these types.
        :param field: only ``V`` records with this signal, or any of these signals.
        :return: its ``stop()`` ends the calls.
        :raises ValueError: no record can ever match.
        """
        return Listening(listener, make_filter(vin, record_type, field), self._listeners)

    def records(
        self,
        *,
        vin: Names = None,
        record_type: Names = None,
        field: Names = None,
        when_slow: WhenSlow = "wait",
        buffer_records: int = 1000,
    ) -> Records:
        """Records that match, as they come, for ``async for``; the gateway must have been started.

        :param vin: as in ``listen``, and so are ``record_type`` and ``field``.
        :param when_slow: ``wait``: a record is handled when the loop asks for the next one, so that acknowledgements that
            wait for ``embedded`` wait for the loop; no record is lost, and a slow reader causes backpressure.
            ``drop_oldest``: a record is handled at once, and of the unread records the newest ``buffer_records`` are kept;
            ``Records.dropped`` counts the others.
        :raises ValueError: no record can ever match, or the buffer has no room.
        :raises RuntimeError: the gateway does not run.
        """
        made, reactor = self._made, self._reactor
        if made is None or reactor is None:
            raise RuntimeError("the gateway does not run; start it first")
        if when_slow not in ("wait", "drop_oldest"):
            raise ValueError(f'when_slow is {when_slow!r}; it must be "wait" or "drop_oldest"')
        if buffer_records < 1:
            raise ValueError(f"buffer_records is {buffer_records}; it must be at least 1")
        context = ReaderContext(self._listeners, self._awaiting, reactor.callFromThread, self._log)
        buffer = ReadBuffer(make_filter(vin, record_type, field), buffer_records, when_slow, context)
        self._buffers = [each for each in self._buffers if not each.stopped] + [buffer]
        return Records(buffer, context)

    @property
    def vehicles(self) -> dict[str, tuple[Connection, ...]]:
        """The connected vehicles: VIN to its connections, oldest first; nearly always one. A new mapping at each call.

        It agrees with the ``connectivity`` record that a listener gets.
        """
        connections: list[Connection] = []
        for each in self._made.parts.vehicles.connections if self._made is not None else ():
            vehicle = each.vehicle
            if vehicle is not None:
                connections.append(
                    Connection(
                        vehicle.vin,
                        vehicle.connection_id,
                        vehicle.identity.client_type,
                        vehicle.device_client_version,
                        vehicle.network_interface,
                        each.remote,
                        each.connected_s,
                    )
                )
        connections.sort(key=lambda connection: -connection.connected_s)
        by_vin: dict[str, tuple[Connection, ...]] = {}
        for connection in connections:
            by_vin[connection.vin] = (*by_vin.get(connection.vin, ()), connection)
        return by_vin

    @property
    def port(self) -> int:
        """The port that vehicles connect to, as bound; 0 while there is none."""
        return self._made.life.port if self._made is not None else 0

    def _reload(self, config: Mapping[str, object] | Config | None) -> Deferred[None]:
        """Take another configuration over, as ``GatewayLife.reload`` does.

        :param config: None for the configuration of before, whose files may have changed.
        """
        if self._made is None:
            return fail(RuntimeError("the gateway does not run; start it first"))
        life = self._made.life
        given = self._config if config is None else config
        life.reload_certificates()
        reloading = life.reload(ProgramConfiguration(given, os.environ, Path(self._base_dir or Path.cwd())))
        return reloading.addCallback(lambda _: self._reloaded(given))

    def _reloaded(self, given: Mapping[str, object] | Config) -> None:
        self._config = given
        if self._made is not None:
            self._receive(self._made)

    def _receive(self, made: _Made) -> None:
        """Have the listeners get the records that are routed to them."""
        self._listeners.routed = frozenset(kind for kind, sinks in made.life.config.records.items() if SINK in sinks)
        lane = made.parts.lanes.get(SINK)
        if lane is not None and isinstance(lane.sink, EmbeddedSink):
            lane.sink.receiver = self._listeners.receive

    def _make(self, reactor: IGatewayReactor) -> _Made:
        """Read the configuration and make every part. Reads files and imports libraries, and may run in a thread.

        :raises ConfigurationError: it has problems; carries all of them.
        """
        loaded = ProgramConfiguration(self._config, os.environ, Path(self._base_dir or Path.cwd())).load()
        parts = compose(loaded, reactor, self._log)
        return _Made(loaded, parts, GatewayLife(parts, reactor))

    async def _open(self, made: _Made, reactor: IGatewayReactor) -> None:
        """Start all parts; on an error, stop all of them again."""
        for warning in made.loaded.warnings:
            self._log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        config, life = made.loaded.config, made.life
        self._listeners.open([record_type for record_type, sinks in config.records.items() if SINK in sinks])
        self._receive(made)
        try:
            life.bind()
            await life.start()
        except BaseException:
            await life.stop()
            raise
        self._made, self._reactor = made, reactor

    def _stop(self, *, abandon_readers: bool) -> Deferred[None]:
        """Stop in order, as ``GatewayLife`` does; does nothing when the gateway does not run.

        :param abandon_readers: do not wait for readers.
        """
        if self._made is None:
            return succeed(None)
        if abandon_readers:
            self._stop_readers()
        stopped = self._made.life.stop()
        return stopped.addCallback(lambda _: self._stop_readers())

    def _stop_readers(self) -> None:
        for buffer in self._buffers:
            buffer.stop()
        self._buffers.clear()
