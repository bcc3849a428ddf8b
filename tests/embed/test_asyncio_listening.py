"""Listeners in an asyncio program: over real sockets, on loops that the tests own."""

import asyncio

from fleetgw.embed import Gateway, Record, Rejected
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import OTHER_VIN, VIN, payload_of

RELIABLE = {"V": "embedded"}


class ListeningTests(AsyncioCase):
    @on_a_loop
    async def test_a_record_reaches_its_listener(self) -> None:
        calls, statuses = Calls(), Calls()
        async with Gateway(self.config()) as gateway:
            gateway.listen(calls, record_type="V")
            gateway.listen(statuses, record_type="connectivity")
            self.assertGreater(gateway.port, 0)
            async with self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=71.5, Gear="D"), b"tx-1")
                await calls.reached(1)
                await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
                (connection,) = gateway.vehicles[VIN]
                self.assertEqual(connection.client_type, "vehicle_device")
                self.assertGreaterEqual(connection.connected_s, 0)
                self.assertTrue(connection.remote.startswith("127.0.0.1:"), connection.remote)
            await statuses.reached(2)
            self.assertEqual(gateway.vehicles, {})
        (record,) = calls
        self.assertEqual((record.vin, record.txid, record.fields), (VIN, "tx-1", {"Soc": 71.5, "Gear": "D"}))

    @on_a_loop
    async def test_listeners_choose(self) -> None:
        by_vin, by_field, statuses = Calls(), Calls(), Calls()
        gateway = Gateway(self.config())
        gateway.listen(by_vin, vin=OTHER_VIN, record_type=["V", "alerts"])
        gateway.listen(by_field, field={"Soc", "Gear"})
        gateway.listen(statuses, record_type="connectivity")
        async with gateway:
            for vin in (VIN, OTHER_VIN):
                async with self.vehicle(gateway.port, vin) as vehicle:
                    vehicle.send("V", payload_of(Odometer=1), b"tx-1")
                    vehicle.send("V", payload_of(Odometer=1, Soc=2), b"tx-2")
                    await vehicle.until(lambda vehicle=vehicle: len(vehicle.acked) == 2)
            await statuses.reached(4)
        self.assertEqual([(record.vin, record.txid) for record in by_vin], [(OTHER_VIN, "tx-1"), (OTHER_VIN, "tx-2")])
        self.assertEqual([(record.vin, record.txid) for record in by_field], [(VIN, "tx-2"), (OTHER_VIN, "tx-2")])
        of_one = [record.connectivity.status for record in statuses if record.vin == VIN]
        self.assertEqual(of_one, ["CONNECTED", "DISCONNECTED"])

    @on_a_loop
    async def test_a_stopped_listener_gets_nothing_more(self) -> None:
        stopped, other = Calls(), Calls()
        async with Gateway(self.config()) as gateway:
            listening = gateway.listen(stopped, record_type="V")
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
        self.assertEqual(stopped.txids, ["tx-1"])

    @on_a_loop
    async def test_an_acknowledgement_waits_for_the_listener(self) -> None:
        calls = Calls()
        gate = asyncio.Event()

        async def listener(record: Record) -> None:
            calls(record)
            if record.vin == VIN:
                await gate.wait()

        async with Gateway(self.config(reliable_ack_sources=RELIABLE)) as gateway:
            gateway.listen(listener, record_type="V")
            async with self.vehicle(gateway.port) as vehicle, self.vehicle(gateway.port, OTHER_VIN) as other:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                vehicle.send("V", payload_of(Soc=2), b"tx-2")
                await calls.reached(1)
                # these go all the way there and back, and would find anything that came too early
                other.send("V", payload_of(Soc=3), b"tx-3")
                await other.until(lambda: other.acked == [b"tx-3"])
                vehicle.send("alerts", b"", b"tx-4")
                await vehicle.until(lambda: b"tx-4" in vehicle.acked)
                self.assertEqual(calls.txids, ["tx-1", "tx-3"], "a vehicle's records come one after the other")
                self.assertEqual(vehicle.acked, [b"tx-4"], "acknowledged when done with")
                gate.set()
                await vehicle.until(lambda: vehicle.acked == [b"tx-4", b"tx-1", b"tx-2"])

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
            self.assertEqual(other.txids, ["tx-1"], "who was done with it does not get it again")

        with self.assertLogs("fleetgw", "ERROR") as logged:
            self.run_on_a_loop(main())
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
            self.assertEqual(calls.txids, ["tx-1", "tx-2"])

        with self.assertLogs("fleetgw", "ERROR") as logged:
            self.run_on_a_loop(main())
        self.assertEqual([each.event for each in logged.records], ["dead_letter"])

    @on_a_loop
    async def test_a_listener_that_takes_too_long_is_cancelled(self) -> None:
        calls = Calls()
        cancelled: list[str] = []

        async def listener(record: Record) -> None:
            calls(record)
            if len(calls) == 1:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled.append(record.txid)
                    raise

        config = self.config(
            reliable_ack_sources=RELIABLE, embedded={"listener_timeout_s": 0.05}, delivery={"retry_initial_s": 0.01}
        )
        async with Gateway(config) as gateway:
            gateway.listen(listener, record_type="V")
            async with self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
        self.assertEqual(cancelled, ["tx-1"])
