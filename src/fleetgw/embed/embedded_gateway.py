"""What a gateway inside a program is under Twisted and under asyncio alike."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen
from twisted.internet.defer import Deferred, succeed

from fleetgw.adapters.logs.python_logging import PythonLog
from fleetgw.adapters.sinks.embedded.sink import EmbeddedSink
from fleetgw.app.service.composition import compose
from fleetgw.app.service.life import GatewayLife
from fleetgw.embed.configuring import SINK, load
from fleetgw.embed.listening import Listeners, Listening, make_filter
from fleetgw.embed.reading import Records, Surroundings, Unread

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from fleetgw.app.config import Config, LoadedConfig
    from fleetgw.app.service.composition import IGatewayReactor, Parts
    from fleetgw.embed.listening import Listener, Names
    from fleetgw.embed.reading import WhenSlow


@frozen
class Connection:
    """One connection of a vehicle, as it is now.

    :ivar connection_id: the one of its ``connectivity`` records.
    :ivar client_type: what the certificate makes of it, such as ``vehicle_device``.
    :ivar device_client_version: of the vehicle's software, empty where it does not say.
    :ivar network_interface: what it is connected by, empty where it does not say.
    :ivar remote: ``host:port`` of the peer.
    :ivar connected_s: for how many seconds it has been.
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
    """A gateway in pieces."""

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
        :param base_dir: where relative paths in ``config`` start; default: the working directory.
        :param logger: where events go; default: ``logging.getLogger("fleetgw")``. Its level counts, not ``log_level``.
        """
        self._config = config
        self._base_dir = base_dir
        self._log = PythonLog(logger or logging.getLogger("fleetgw"))
        self._listeners = Listeners(self._adopt)
        self._reactor: IGatewayReactor | None = None
        self._made: _Made | None = None
        self._unread: list[Unread] = []

    @staticmethod
    def _adopt(awaitable: Awaitable[object]) -> Deferred[object]:
        """Have what a listener returned run."""
        raise NotImplementedError

    @staticmethod
    def _awaiting(waker: Deferred[None]) -> Awaitable[None]:
        """What the program's coroutines can await."""
        raise NotImplementedError

    def listen(self, listener: Listener, *, vin: Names = None, record_type: Names = None, field: Names = None) -> Listening:
        """Have ``listener`` called with every ``Record`` that fits. May be called before the start, to miss nothing.

        A listener gets the records of one vehicle one after the other, in order. It is a plain function, or returns an
        awaitable or a Deferred: then a record is done with when that is. Records of types with
        ``reliable_ack_sources: {...: "embedded"}`` are acknowledged when all listeners are done with them. A record whose
        listener raises, or is not done within ``embedded.listener_timeout_s``, is not acknowledged; it comes again.

        :param vin: only of this vehicle, or of these.
        :param record_type: only of this type, or these.
        :param field: only ``V`` records with this signal, or any of these.
        :return: its ``stop()`` ends it.
        :raises ValueError: no record can ever fit.
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
        """Records that fit, as they come, for ``async for``; the gateway must have been started.

        :param vin: as in ``listen``, and so are ``record_type`` and ``field``.
        :param when_slow: ``wait``: a record is done with when the loop asks for the next one, so that acknowledgements that
            wait for ``embedded`` wait for the loop; nothing is lost, and a reader that is too slow for long slows the
            vehicles. ``drop_oldest``: a record is done with at once, and of those unread the last ``buffer_records`` are
            kept; ``Records.dropped`` counts the others.
        :raises ValueError: no record can ever fit, or the buffer has no room.
        :raises RuntimeError: the gateway does not run.
        """
        made, reactor = self._made, self._reactor
        if made is None or reactor is None:
            raise RuntimeError("the gateway does not run; start it first")
        if when_slow not in ("wait", "drop_oldest"):
            raise ValueError(f'when_slow is {when_slow!r}; it must be "wait" or "drop_oldest"')
        if buffer_records < 1:
            raise ValueError(f"buffer_records is {buffer_records}; it must be at least 1")
        surroundings = Surroundings(self._listeners, self._awaiting, reactor.callFromThread, self._log)
        unread = Unread(make_filter(vin, record_type, field), buffer_records, when_slow, surroundings)
        self._unread = [each for each in self._unread if not each.stopped] + [unread]
        return Records(unread, surroundings)

    @property
    def vehicles(self) -> dict[str, tuple[Connection, ...]]:
        """Who is connected now: VIN to its connections, oldest first; nearly always one. Made afresh each time.

        A listener that is told of a coming or going by a ``connectivity`` record finds it here.
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

    def _make(self, reactor: IGatewayReactor) -> _Made:
        """Read the configuration and make every part: reads files and imports libraries, so it may run in a thread.

        :raises ConfigurationError: it cannot work; carries every problem found.
        """
        loaded = load(self._config, os.environ, Path(self._base_dir or Path.cwd()))
        parts = compose(loaded, reactor, self._log)
        return _Made(loaded, parts, GatewayLife(parts, reactor))

    async def _open(self, made: _Made, reactor: IGatewayReactor) -> None:
        """Start what was made; on an error, all of it is stopped."""
        for warning in made.loaded.warnings:
            self._log.warn("configuration_warning", key=warning.path, warning=f"{warning.what}; {warning.fix}")
        config, life = made.loaded.config, made.life
        self._listeners.open([record_type for record_type, sinks in config.records.items() if SINK in sinks])
        lane = made.parts.lanes.get(SINK)
        if lane is not None and isinstance(lane.sink, EmbeddedSink):
            lane.sink.receiver = self._listeners.receive
        try:
            life.bind()
            await life.start()
        except BaseException:
            await life.stop()
            raise
        self._made, self._reactor = made, reactor

    def _stop(self, *, in_haste: bool) -> Deferred[None]:
        """End in order, as ``GatewayLife`` does; harmless when it does not run.

        :param in_haste: do not wait for readers.
        """
        if self._made is None:
            return succeed(None)
        if in_haste:
            self._stop_readers()
        stopped = self._made.life.stop()
        return stopped.addCallback(lambda _: self._stop_readers())

    def _stop_readers(self) -> None:
        for unread in self._unread:
            unread.stop()
        self._unread.clear()
