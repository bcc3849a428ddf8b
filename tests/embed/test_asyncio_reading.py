"""``async for`` over records in an asyncio program: over real sockets, on loops that the tests own."""

import asyncio
import gc

from fleetgw.embed import Gateway
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import payload_of

RELIABLE = {"V": "embedded"}


class ReadingTests(AsyncioCase):
    @on_a_loop
    async def test_reads_and_confirms(self) -> None:
        gateway = Gateway(self.config(reliable_ack_sources=RELIABLE))
        async with gateway, self.vehicle(gateway.port) as vehicle, gateway.records(record_type="V") as records:
            for number in range(3):
                vehicle.send("V", payload_of(Soc=number), b"tx-%d" % number)
            async for record in records:
                # an alert is acknowledged at once, behind whatever has been acknowledged by now
                alert = b"with " + record.txid.encode()
                vehicle.send("alerts", b"", alert)
                await vehicle.until(lambda alert=alert: alert in vehicle.acked)
                if record.txid == "tx-2":
                    break
            self.assertEqual(
                vehicle.acked,
                [b"with tx-0", b"tx-0", b"with tx-1", b"tx-1", b"with tx-2"],
                "acknowledged when the next one is asked for",
            )

    @on_a_loop
    async def test_a_loop_that_is_left_holds_nothing_up(self) -> None:
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
        self.assertEqual(set(calls.txids), {"tx-1", "tx-2"}, "what was not done with comes again")

    @on_a_loop
    async def test_ends_with_the_gateway(self) -> None:
        calls = Calls()
        gateway = Gateway(self.config())
        await gateway.start()

        async def read() -> None:
            async for record in gateway.records(record_type="V"):
                calls(record)

        reading = asyncio.ensure_future(read())
        async with self.vehicle(gateway.port) as vehicle:
            vehicle.send("V", payload_of(Soc=1), b"tx-1")
            await calls.reached(1)  # by now it waits for the next one
        await gateway.stop()
        await reading
        self.assertEqual(calls.txids, ["tx-1"])

    @on_a_loop
    async def test_an_exception_in_the_loop_ends_the_gateway_without_delay(self) -> None:
        """A reader that reads no more is not waited for, which would take an hour."""
        hour = {"embedded": {"listener_timeout_s": 3600}, "delivery": {"drain_timeout_s": 3600}}
        gateway = Gateway(self.config(reliable_ack_sources=RELIABLE, **hour))
        with self.assertRaises(ZeroDivisionError):
            async with gateway, self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                records = gateway.records(record_type="V")
                async for record in records:
                    raise ZeroDivisionError(record.txid)

    def test_drops_the_oldest_records(self) -> None:
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
            self.run_on_a_loop(main())
        self.assertEqual([each.event for each in logged.records].count("reader_slow"), 1)

    @on_a_loop
    async def test_one_reader_at_a_time(self) -> None:
        async with Gateway(self.config()) as gateway, gateway.records(record_type="V") as records:
            first, second = (asyncio.ensure_future(anext(records, None)) for _ in range(2))
            with self.assertRaisesRegex(RuntimeError, "call records"):
                await second
            records.stop()
            self.assertIsNone(await first)

    @on_a_loop
    async def test_impossible_arguments_are_refused(self) -> None:
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
