"""A gateway inside an asyncio program: over real sockets, on loops that the tests own."""

import asyncio
import gc
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable
from unittest import mock

from twisted.internet.defer import Deferred

from fleetgw.app.config import parse_config
from fleetgw.embed import ConfigurationError, Gateway, Record, Rejected
from fleetgw.testing.embed_case import OTHER_VIN, VIN, EmbedCase, payload_of
from fleetgw.testing.free_ports import free_port

RELIABLE = {"V": "embedded"}


class Calls(list[Record]):
    """A listener that keeps what it gets, and can be waited for."""

    def __call__(self, record: Record) -> None:
        self.append(record)

    async def reached(self, count: int) -> None:
        await until(lambda: len(self) >= count)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.002)


class AsyncioCase(EmbedCase):
    def run_async(self, main: Callable[[], Awaitable[None]]) -> None:
        """Run on a fresh loop with debug mode's complaints as errors; nothing may be left on it."""
        complaints: list[str] = []

        async def watched() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(str(context)))
            await main()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            self.assertEqual(left, set())

        asyncio.run(watched())
        self.assertEqual(complaints, [])


class ListeningTests(AsyncioCase):
    def test_a_record_reaches_its_listener(self) -> None:
        async def main() -> None:
            calls = Calls()
            async with Gateway(self.config()) as gateway:
                gateway.listen(calls, record_type="V")
                self.assertGreater(gateway.port, 0)
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=71.5, Gear="D"), b"tx-1")
                    await calls.reached(1)
                    await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
                    (connection,) = gateway.vehicles[VIN]
                    self.assertEqual(connection.client_type, "vehicle_device")
                    self.assertGreaterEqual(connection.connected_s, 0)
                    self.assertTrue(connection.remote.startswith("127.0.0.1:"), connection.remote)
                await until(lambda: not gateway.vehicles)
            (record,) = calls
            self.assertEqual((record.vin, record.txid, record.fields), (VIN, "tx-1", {"Soc": 71.5, "Gear": "D"}))

        self.run_async(main)

    def test_listeners_choose(self) -> None:
        async def main() -> None:
            by_vin, by_field, ends = Calls(), Calls(), Calls()
            gateway = Gateway(self.config())
            gateway.listen(by_vin, vin=OTHER_VIN, record_type=["V", "alerts"])
            gateway.listen(by_field, field={"Soc", "Gear"})
            gateway.listen(ends, record_type="connectivity")
            async with gateway:
                for vin in (VIN, OTHER_VIN):
                    async with self.vehicle(gateway.port, vin) as vehicle:
                        vehicle.send("V", payload_of(Odometer=1), b"tx-1")
                        vehicle.send("V", payload_of(Odometer=1, Soc=2), b"tx-2")
                        await vehicle.until(lambda vehicle=vehicle: len(vehicle.acked) == 2)
                await ends.reached(4)
            self.assertEqual([(record.vin, record.txid) for record in by_vin], [(OTHER_VIN, "tx-1"), (OTHER_VIN, "tx-2")])
            self.assertEqual([(record.vin, record.txid) for record in by_field], [(VIN, "tx-2"), (OTHER_VIN, "tx-2")])
            statuses = [record.connectivity.status for record in ends if record.vin == VIN]
            self.assertEqual(statuses, ["CONNECTED", "DISCONNECTED"])

        self.run_async(main)

    def test_a_stopped_listener_gets_nothing_more(self) -> None:
        async def main() -> None:
            stopped, other = Calls(), Calls()
            async with Gateway(self.config()) as gateway:
                listening = gateway.listen(stopped)
                gateway.listen(other, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    await other.reached(1)
                    self.assertTrue(listening.active)
                    listening.stop()
                    listening.stop()
                    self.assertFalse(listening.active)
                    vehicle.send("V", payload_of(Soc=2), b"tx-2")
                    await other.reached(2)
            self.assertEqual([record.txid for record in stopped if record.record_type == "V"], ["tx-1"])

        self.run_async(main)

    def test_an_acknowledgement_waits_for_the_listener(self) -> None:
        async def main() -> None:
            started: list[str] = []
            gate = asyncio.Event()

            async def listener(record: Record) -> None:
                started.append(record.txid)
                await gate.wait()

            async with Gateway(self.config(reliable_ack_sources=RELIABLE)) as gateway:
                gateway.listen(listener, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    vehicle.send("V", payload_of(Soc=2), b"tx-2")
                    await until(lambda: started == ["tx-1"])
                    await asyncio.sleep(0.05)
                    self.assertEqual((started, vehicle.acked), (["tx-1"], []), "one after the other, acked when done")
                    gate.set()
                    await vehicle.until(lambda: vehicle.acked == [b"tx-1", b"tx-2"])

        self.run_async(main)

    def test_a_listener_that_raises_is_not_acknowledged_and_tried_again(self) -> None:
        async def main() -> None:
            attempts: list[str] = []
            other = Calls()

            def listener(record: Record) -> None:
                attempts.append(record.txid)
                if len(attempts) < 3:
                    raise ValueError("cannot do it")

            config = self.config(reliable_ack_sources=RELIABLE, delivery={"retry_initial_s": 0.01})
            async with Gateway(config) as gateway:
                gateway.listen(listener, record_type="V")
                gateway.listen(other, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
            self.assertEqual(attempts, ["tx-1"] * 3)
            self.assertEqual([record.txid for record in other], ["tx-1"], "who was done with it does not get it again")

        with self.assertLogs("fleetgw", "ERROR") as logged:
            self.run_async(main)
        (failure,) = [each for each in logged.records if each.event == "embedded_listener_error"]
        self.assertEqual((failure.fields["vin"], failure.fields["txid"]), (VIN, "tx-1"))
        self.assertIn("cannot do it", failure.fields["traceback"])

    def test_a_refusal_of_the_listener_is_final(self) -> None:
        async def main() -> None:
            calls = Calls()

            async def listener(record: Record) -> None:
                calls(record)
                if record.txid == "tx-1":
                    raise Rejected("not this one")

            async with Gateway(self.config(reliable_ack_sources=RELIABLE)) as gateway:
                gateway.listen(listener, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    vehicle.send("V", payload_of(Soc=1), b"tx-2")
                    await vehicle.until(lambda: vehicle.acked == [b"tx-2"])
            self.assertEqual([record.txid for record in calls], ["tx-1", "tx-2"])

        with self.assertLogs("fleetgw", "ERROR") as logged:
            self.run_async(main)
        self.assertEqual([each.event for each in logged.records], ["dead_letter"])

    def test_a_listener_that_takes_too_long_is_cancelled(self) -> None:
        async def main() -> None:
            ends: list[str] = []

            async def listener(record: Record) -> None:
                if not ends:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        ends.append("cancelled")
                        raise
                ends.append(record.txid)

            config = self.config(
                reliable_ack_sources=RELIABLE, embedded={"listener_timeout_s": 0.05}, delivery={"retry_initial_s": 0.01}
            )
            async with Gateway(config) as gateway:
                gateway.listen(listener, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
            self.assertEqual(ends, ["cancelled", "tx-1"])

        self.run_async(main)

    def test_while_nobody_listens_nothing_is_confirmed(self) -> None:
        async def main() -> None:
            async with Gateway(self.config(reliable_ack_sources=RELIABLE)) as gateway:
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    vehicle.send("alerts", b"", b"tx-2")
                    await vehicle.until(lambda: vehicle.acked == [b"tx-2"])
                    await asyncio.sleep(0.05)
                    calls = Calls()
                    gateway.listen(calls, record_type="V")
                    vehicle.send("V", payload_of(Soc=3), b"tx-3")
                    await vehicle.until(lambda: len(vehicle.acked) == 2)
                self.assertEqual(vehicle.acked, [b"tx-2", b"tx-3"])
                self.assertEqual([record.txid for record in calls], ["tx-3"])

        self.run_async(main)


class ReadingTests(AsyncioCase):
    def test_reads_and_confirms(self) -> None:
        async def main() -> None:
            gateway = Gateway(self.config(reliable_ack_sources=RELIABLE))
            async with gateway, self.vehicle(gateway.port) as vehicle, gateway.records(record_type="V") as records:
                for number in range(3):
                    vehicle.send("V", payload_of(Soc=number), b"tx-%d" % number)
                read: list[str] = []
                async for record in records:
                    read.append(record.txid)
                    await asyncio.sleep(0.05)
                    self.assertEqual(len(vehicle.acked), len(read) - 1, "acked when the next one is asked for")
                    if len(read) == 3:
                        break
                self.assertEqual(read, ["tx-0", "tx-1", "tx-2"])

        self.run_async(main)

    def test_a_loop_that_is_left_holds_nothing_up(self) -> None:
        async def main() -> None:
            calls = Calls()
            config = self.config(reliable_ack_sources=RELIABLE, delivery={"retry_initial_s": 0.01})
            gateway = Gateway(config)
            async with gateway, self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                vehicle.send("V", payload_of(Soc=2), b"tx-2")
                async for record in gateway.records(record_type="V"):
                    self.assertEqual(record.txid, "tx-1")
                    break
                gateway.listen(calls, record_type="V")
                gc.collect()
                await vehicle.until(lambda: len(vehicle.acked) == 2)
            self.assertEqual({record.txid for record in calls}, {"tx-1", "tx-2"}, "what was not done with comes again")

        self.run_async(main)

    def test_ends_with_the_gateway(self) -> None:
        async def main() -> None:
            gateway = Gateway(self.config())
            await gateway.start()
            records = gateway.records()
            reading = asyncio.ensure_future(anext(records, None))
            await asyncio.sleep(0)
            await gateway.stop()
            self.assertIsNone(await reading)

        self.run_async(main)

    def test_an_exception_in_the_loop_ends_the_gateway_without_delay(self) -> None:
        async def main() -> None:
            gateway = Gateway(self.config(reliable_ack_sources=RELIABLE))
            async with gateway, self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                records = gateway.records(record_type="V")
                async for record in records:
                    raise ZeroDivisionError(record.txid)

        loops_time: list[float] = []

        async def timed() -> None:
            began = asyncio.get_running_loop().time()
            with self.assertRaises(ZeroDivisionError):
                await main()
            loops_time.append(asyncio.get_running_loop().time() - began)

        self.run_async(timed)
        self.assertLess(loops_time[0], 7, "it waited for a reader that reads no more")

    def test_drops_the_oldest_when_told_to(self) -> None:
        async def main() -> None:
            async with Gateway(self.config(reliable_ack_sources=RELIABLE)) as gateway:
                records = gateway.records(record_type="V", when_slow="drop_oldest", buffer_records=2)
                async with self.vehicle(gateway.port) as vehicle:
                    for number in range(5):
                        vehicle.send("V", payload_of(Soc=number), b"tx-%d" % number)
                    await vehicle.until(lambda: len(vehicle.acked) == 5)
                self.assertEqual([(await anext(records)).txid for _ in range(2)], ["tx-3", "tx-4"])
                self.assertEqual(records.dropped, 3)

        with self.assertLogs("fleetgw", "WARNING") as logged:
            self.run_async(main)
        self.assertEqual([each.event for each in logged.records].count("reader_slow"), 1)

    def test_one_reader_at_a_time(self) -> None:
        async def main() -> None:
            async with Gateway(self.config()) as gateway, gateway.records(record_type="V") as records:
                reading = asyncio.ensure_future(anext(records, None))
                await asyncio.sleep(0)
                with self.assertRaisesRegex(RuntimeError, "call records"):
                    await anext(records)
                records.stop()
                self.assertIsNone(await reading)

        self.run_async(main)

    def test_is_refused_what_cannot_be(self) -> None:
        async def main() -> None:
            gateway = Gateway(self.config(records={"V": ["embedded"]}))
            with self.assertRaisesRegex(RuntimeError, "start it first"):
                gateway.records()
            async with gateway:
                with self.assertRaisesRegex(ValueError, 'must be "wait"'):
                    gateway.records(when_slow="panic")
                with self.assertRaisesRegex(ValueError, "at least 1"):
                    gateway.records(buffer_records=0)
                with self.assertRaisesRegex(ValueError, "records.alerts"):
                    gateway.records(record_type="alerts")
                with self.assertRaisesRegex(ValueError, 'did you mean "Soc"'):
                    gateway.listen(print, field="SoC")

        self.run_async(main)


class LifeTests(AsyncioCase):
    def test_all_problems_of_a_configuration_at_once(self) -> None:
        async def main() -> None:
            config = self.config(records={"V": ["embeded"]}, limits={"max_message_bytes": "many"}, prot=1)
            with self.assertRaises(ConfigurationError) as caught:
                await Gateway(config).start()
            self.assertEqual(
                sorted(problem.path for problem in caught.exception.problems),
                ["limits.max_message_bytes", "prot", "records.V[0]"],
            )

        self.run_async(main)

    def test_a_typed_configuration(self) -> None:
        text = json.dumps(self.config(records={"V": ["memory"]}), default=str)
        config = parse_config(text, {}, self.folder).config

        async def main() -> None:
            async with Gateway(config) as gateway:
                self.assertGreater(gateway.port, 0)

        self.run_async(main)

    def test_what_json_does_not_have_is_refused(self) -> None:
        async def main() -> None:
            with self.assertRaisesRegex(ConfigurationError, "it holds <object"):
                await Gateway(self.config(namespace=object())).start()

        self.run_async(main)

    def test_a_taken_port_is_told_and_leaves_nothing(self) -> None:
        async def main() -> None:
            with socket.create_server(("127.0.0.1", 0)) as taken:
                port = taken.getsockname()[1]
                gateway = Gateway(self.config(port=port))
                with self.assertRaisesRegex(ConfigurationError, f"port: cannot listen on 127.0.0.1:{port}"):
                    await gateway.start()
            await gateway.stop()
            async with Gateway(self.config(port=port)) as other:
                self.assertEqual(other.port, port)

        self.run_async(main)

    def test_a_sink_that_cannot_start_is_told_and_leaves_nothing(self) -> None:
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
            self.run_async(main)

    def test_a_listener_for_what_never_comes(self) -> None:
        async def main() -> None:
            gateway = Gateway(self.config(records={"V": ["embedded"]}))
            gateway.listen(print, record_type="alerts")
            with self.assertRaisesRegex(ValueError, 'have "embedded" among records.alerts'):
                await gateway.start()

        self.run_async(main)

    def test_several_gateways_in_one_process(self) -> None:
        async def main() -> None:
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
            self.assertEqual([record.txid for record in (*first, *second)], ["tx-1", "tx-3", "tx-2"])

        self.run_async(main)

    def test_one_loop_after_another(self) -> None:
        async def main() -> None:
            calls = Calls()
            async with Gateway(self.config()) as gateway:
                gateway.listen(calls, record_type="V")
                async with self.vehicle(gateway.port) as vehicle:
                    vehicle.send("V", payload_of(Soc=1), b"tx-1")
                    await calls.reached(1)

        for _ in range(2):
            self.run_async(main)

    def test_stops_in_order(self) -> None:
        """A record that is with its listener when the stop begins is acknowledged before the goodbye."""

        async def main() -> None:
            gate = asyncio.Event()
            started = asyncio.Event()

            async def listener(_: Record) -> None:
                started.set()
                await gate.wait()

            gateway = Gateway(self.config(reliable_ack_sources=RELIABLE))
            gateway.listen(listener, record_type="V")
            await gateway.start()
            async with self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                await started.wait()
                stopping = [asyncio.ensure_future(gateway.stop()) for _ in range(2)]
                await asyncio.sleep(0.05)
                self.assertFalse(stopping[0].done())
                gate.set()
                await asyncio.gather(*stopping)
                await vehicle.until(lambda: vehicle.closed is not None)
                self.assertEqual((vehicle.acked, vehicle.closed.code), ([b"tx-1"], 1001))
            await gateway.stop()
            self.assertEqual(gateway.vehicles, {})
            with self.assertRaisesRegex(RuntimeError, "runs once"):
                await gateway.start()

        self.run_async(main)

    def test_a_start_that_is_given_up_leaves_nothing(self) -> None:
        gate: list[Deferred[None]] = []

        def hang() -> Deferred[None]:
            gate.append(Deferred())
            return gate[-1]

        async def main() -> None:
            config = self.config(port=free_port())
            with mock.patch("fleetgw.adapters.sinks.embedded.EmbeddedSink.start", side_effect=hang):
                starting = asyncio.ensure_future(Gateway(config).start())
                await until(lambda: bool(gate))
            starting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await starting
            await asyncio.sleep(0.01)
            async with Gateway(config) as gateway:
                self.assertEqual(gateway.port, config["port"])

        self.run_async(main)

    def test_new_certificates(self) -> None:
        async def main() -> None:
            async with Gateway(self.config()) as gateway:
                await gateway.reload_certificates()
                (self.folder / "server.crt").write_text("no certificate")
                await gateway.reload_certificates()
                async with self.vehicle(gateway.port) as vehicle:
                    self.assertIsNone(vehicle.closed)

        with self.assertLogs("fleetgw", "INFO") as logged:
            self.run_async(main)
        events = [each.event for each in logged.records if each.event.startswith("certificates")]
        self.assertEqual(events, ["certificates_reloaded", "certificates_not_reloaded"])


class SomebodyElsesLoopTests(AsyncioCase):
    """As in a program that runs for ever and knows nothing of Twisted."""

    def test_takes_no_signals_and_leaves_the_loop_running(self) -> None:
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)

        async def main() -> None:
            loop = asyncio.get_running_loop()
            before = [signal.getsignal(number) for number in numbers]
            threads = threading.active_count()
            async with Gateway(self.config()):
                self.assertEqual([signal.getsignal(number) for number in numbers], before)
            self.assertEqual([signal.getsignal(number) for number in numbers], before)
            self.assertTrue(loop.is_running())
            self.assertLessEqual(threading.active_count(), threads + 1, "no threads but the loop's executor")

        self.run_async(main)

    def test_reads_no_file_on_the_loop(self) -> None:
        read: list[str] = []
        loops_thread = threading.get_ident()

        def note(event: str, arguments: tuple[object, ...]) -> None:
            if watching and event == "open" and threading.get_ident() == loops_thread:
                read.append(str(arguments[0]))

        watching = False
        sys.addaudithook(note)

        async def main() -> None:
            nonlocal watching
            calls = Calls()
            gateway = Gateway(self.config())
            gateway.listen(calls, record_type="V")
            vehicle = self.vehicle(0)
            watching = True
            await gateway.start()
            watching = False
            vehicle = self.vehicle(gateway.port)
            watching = True
            async with vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                await calls.reached(1)
            await gateway.stop()
            watching = False

        self.run_async(main)
        self.assertEqual(read, [])


class LogTests(AsyncioCase):
    def test_events_go_to_the_program_s_logger(self) -> None:
        async def main() -> None:
            async with Gateway(self.config(), logger=logging.getLogger("mine.telemetry")):
                pass

        with self.assertLogs("mine.telemetry", "INFO") as logged:
            self.run_async(main)
        messages = [each.getMessage() for each in logged.records]
        self.assertTrue(any(message.startswith('server_listening {"host":"127.0.0.1"') for message in messages), messages)
