"""Start and stop of a gateway in an asyncio program: over real sockets, on loops that the tests own."""

import asyncio
import json
import socket
from collections.abc import Callable
from unittest import mock

from twisted.internet.defer import Deferred

from fleetgw.adapters.ingress.vehicle_socket import VehicleSocket
from fleetgw.app.config import parse_config
from fleetgw.embed import ConfigurationError, Gateway, Record
from fleetgw.embed.loop_reactor import hold_reactor, release_reactor
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import OTHER_VIN, VIN, payload_of
from tests.support.free_ports import free_port


class StartTests(AsyncioCase):
    @on_a_loop
    async def test_all_problems_of_a_configuration_at_once(self) -> None:
        config = self.config(records={"V": ["embeded"]}, limits={"max_message_bytes": "many"}, prot=1)
        with self.assertRaises(ConfigurationError) as caught:
            await Gateway(config).start()
        self.assertEqual(
            sorted(problem.path for problem in caught.exception.problems),
            ["limits.max_message_bytes", "prot", "records.V[0]"],
        )

    @on_a_loop
    async def test_a_typed_configuration(self) -> None:
        text = json.dumps(self.config(records={"V": ["memory"]}), default=str)
        async with Gateway(parse_config(text, {}, self.folder).config) as gateway:
            self.assertGreater(gateway.port, 0)

    @on_a_loop
    async def test_values_that_json_lacks_are_refused(self) -> None:
        with self.assertRaisesRegex(ConfigurationError, "it holds <object"):
            await Gateway(self.config(namespace=object())).start()

    @on_a_loop
    async def test_a_taken_port_is_reported_and_leaves_nothing(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            gateway = Gateway(self.config(port=port))
            with self.assertRaisesRegex(ConfigurationError, f"port: cannot listen on 127.0.0.1:{port}"):
                await gateway.start()
        await gateway.stop()
        async with Gateway(self.config(port=port)) as other:
            self.assertEqual(other.port, port)

    def test_a_sink_that_cannot_start_is_reported_and_leaves_nothing(self) -> None:
        async def main() -> None:
            config = self.config(records={"V": ["embedded", "sqlite"]}, sqlite={"path": self.folder / "x.sqlite3"})
            with (
                mock.patch(
                    "fleetgw.adapters.sinks.sqlite.sink.SqliteSink.start", side_effect=RuntimeError("the disk is full")
                ),
                self.assertRaisesRegex(ConfigurationError, "sqlite: .*the disk is full"),
            ):
                await Gateway(config).start()

        with self.assertLogs("fleetgw", "ERROR"):
            self.run_on_a_loop(main())

    @on_a_loop
    async def test_a_listener_for_a_type_that_is_not_routed_to_it(self) -> None:
        gateway = Gateway(self.config(records={"V": ["embedded"]}))
        gateway.listen(print, record_type="alerts")
        with self.assertRaisesRegex(ValueError, 'have "embedded" among records.alerts'):
            await gateway.start()

    @on_a_loop
    async def test_a_cancelled_start_leaves_nothing(self) -> None:
        await self.give_up_a_start(lambda _: None)

    @on_a_loop
    async def test_a_start_that_is_cancelled_when_it_has_just_succeeded_leaves_nothing(self) -> None:
        await self.give_up_a_start(lambda sink_started: sink_started.callback(None))

    async def give_up_a_start(self, just_before: Callable[[Deferred[None]], None]) -> None:
        config = self.config(port=free_port())
        gateway = Gateway(config)
        hanging = asyncio.Event()
        sink_started: Deferred[None] = Deferred()

        def hang() -> Deferred[None]:
            hanging.set()
            return sink_started

        with mock.patch("fleetgw.adapters.sinks.embedded.sink.EmbeddedSink.start", side_effect=hang):
            starting = asyncio.ensure_future(gateway.start())
            await hanging.wait()
            just_before(sink_started)
            starting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await starting
        with socket.create_server(("127.0.0.1", config["port"])):
            pass  # nobody else listens there
        self.assertEqual(gateway.port, 0)
        await gateway.stop()


class SeveralTests(AsyncioCase):
    @on_a_loop
    async def test_several_gateways_in_one_process(self) -> None:
        first, second = Calls(), Calls()
        monitoring = {"prometheus_metrics_port": free_port()}
        async with Gateway(self.config()) as one:
            async with Gateway(self.config(monitoring=monitoring)) as two:
                one.listen(first, record_type="V")
                two.listen(second, record_type="V")
                self.assertNotEqual(one.port, two.port)
                async with self.vehicle(one.port) as vehicle, self.vehicle(two.port, OTHER_VIN) as other:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    other.send("V", payload_of(Soc=1), b"tx-2")
                    await first.reached(1)
                    await second.reached(1)
                    self.assertEqual([*one.vehicles, *two.vehicles], [VIN, OTHER_VIN])
            async with self.vehicle(one.port) as vehicle:
                vehicle.send("V", payload_of(Soc=2), b"tx-3")
                await first.reached(2)
        self.assertEqual((first.txids, second.txids), (["tx-1", "tx-3"], ["tx-2"]))

    @on_a_loop
    async def test_the_loop_watches_one_descriptor_for_the_vehicles_of_a_gateway(self) -> None:
        calls = Calls()
        loop = asyncio.get_running_loop()
        reactor = hold_reactor(loop)
        async with Gateway(self.config(limits={"read_interval_ms": 1})) as gateway:
            gateway.listen(calls, record_type="V")
            async with self.vehicle(gateway.port) as vehicle, self.vehicle(gateway.port, OTHER_VIN) as other:
                for each in (vehicle, other):
                    each.send("V", payload_of(Soc=1), b"tx")
                await calls.reached(2)
                sockets = [each for each in reactor.getReaders() if isinstance(each, VehicleSocket)]
                self.assertEqual((len(gateway.vehicles), sockets), (2, []))
        self.assertEqual(reactor.getReaders(), [])
        release_reactor(loop)

    def test_one_loop_after_another(self) -> None:
        async def main() -> None:
            calls = Calls()
            async with Gateway(self.config()) as gateway:
                gateway.listen(calls, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    await calls.reached(1)

        for _ in range(2):
            self.run_on_a_loop(main())


class StopTests(AsyncioCase):
    @on_a_loop
    async def test_stops_in_order(self) -> None:
        """A record that is with its listener when the stop begins is acknowledged before the close frame."""
        started, gate = asyncio.Event(), asyncio.Event()

        async def listener(_: Record) -> None:
            started.set()
            await gate.wait()

        gateway = Gateway(self.config(reliable_ack_sources={"V": "embedded"}))
        gateway.listen(listener, record_type="V")
        await gateway.start()
        async with self.vehicle(gateway.port) as vehicle:
            vehicle.send("V", payload_of(Soc=1), b"tx-1")
            await started.wait()
            stopping = [asyncio.ensure_future(gateway.stop()) for _ in range(2)]
            asyncio.get_running_loop().call_soon(gate.set)  # once both have begun
            await asyncio.gather(*stopping)
            await vehicle.until(lambda: vehicle.closed is not None)
            self.assertEqual((vehicle.acked, vehicle.closed.code), ([b"tx-1"], 1001))
        await gateway.stop()
        self.assertEqual((gateway.vehicles, gateway.port), ({}, 0))
        with self.assertRaisesRegex(RuntimeError, "runs once"):
            await gateway.start()


class CertificatesTests(AsyncioCase):
    @on_a_loop
    async def test_operators_use_its_status_port_until_it_stops(self) -> None:
        port, token = free_port(), "0123456789abcdef"
        async with Gateway(self.config(status_port=port, operations={"token": token})):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for path, code, text in (
                ("/", 200, b"<!doctype html>"),
                ("/health?verbose", 200, b'"state": "ok"'),
                ("/api/config", 200, b'"token": "********"'),
                ("/api/log", 404, b"this gateway has no log of its own"),
            ):
                headers = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
                writer.write(f"GET {path} HTTP/1.1\r\n{headers}\r\n".encode())
                head = await reader.readuntil(b"\r\n\r\n")
                self.assertIn(f"HTTP/1.1 {code} ".encode(), head)
                length = int(head.partition(b"Content-Length: ")[2].split()[0])
                self.assertIn(text, await reader.readexactly(length))
        self.assertEqual(await reader.read(), b"", "it is closed, and the program goes on")
        writer.close()

    def test_new_certificates(self) -> None:
        async def main() -> None:
            async with Gateway(self.config()) as gateway:
                await gateway.reload_certificates()
                (self.folder / "server.crt").write_text("no certificate")
                await gateway.reload_certificates()
                async with self.vehicle(gateway.port) as vehicle:
                    self.assertIsNone(vehicle.closed)

        with self.assertLogs("fleetgw", "INFO") as logged:
            self.run_on_a_loop(main())
        events = [each.event for each in logged.records if each.event.startswith("certificates")]
        self.assertEqual(events, ["certificates_reloaded", "certificates_not_reloaded"])
