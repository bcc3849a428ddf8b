"""A program that has its gateway take another configuration over."""

import asyncio

from twisted.internet.defer import CancelledError

from fleetgw.embed import ConfigurationError, Gateway, Record, TwistedGateway
from tests.embed.test_twisted import MemoryCase
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import payload_of

MEMORY = {"V": ["memory"], "alerts": ["memory"]}


class TwistedReloadTests(MemoryCase):
    def test_listeners_that_records_are_routed_to_by_a_reload(self) -> None:
        gateway = self.start(records=MEMORY)
        vehicle = self.connect()
        reloaded = gateway.reload(self.config(port=4443, records={"V": ["embedded"]}))
        self.reactor.pump([0.0] * 3)
        self.successResultOf(reloaded)
        got: list[Record] = []
        gateway.listen(got.append, record_type="V")
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        vehicle.advance(0.1)
        self.assertEqual(([record.txid for record in got], vehicle.acked), (["tx-1"], [b"tx-1"]))
        with self.assertRaisesRegex(ValueError, "not routed to the listeners"):
            gateway.listen(got.append, record_type="alerts")
        self.stop()

    def test_a_configuration_with_problems_changes_nothing(self) -> None:
        gateway = self.start(records={"V": ["embedded"]})
        got: list[Record] = []
        gateway.listen(got.append)
        vehicle = self.connect()
        failed = gateway.reload(self.config(port=4443, records={"V": ["embeded"]}))
        self.reactor.pump([0.0] * 3)
        self.failureResultOf(failed, ConfigurationError)
        again = gateway.reload()
        self.reactor.pump([0.0] * 3)
        self.successResultOf(again)
        vehicle.send("V", payload_of(Soc=1), b"tx-1")
        vehicle.advance(0.1)
        self.assertEqual(len(got), 1)
        self.stop()

    def test_only_while_the_gateway_runs(self) -> None:
        self.failureResultOf(TwistedGateway(self.config()).reload(), RuntimeError)
        gateway = self.start()
        stopped = gateway.stop()
        self.failureResultOf(gateway.reload(), CancelledError)
        self.reactor.pump([0.1] * 200)
        self.successResultOf(stopped)


class AsyncioReloadTests(AsyncioCase):
    @on_a_loop
    async def test_another_configuration_and_the_one_of_before(self) -> None:
        async with Gateway(self.config(records=MEMORY)) as gateway:
            with self.assertLogs("fleetgw") as logs:
                await gateway.reload(self.config(records={"V": ["embedded"]}))
            self.assertIn("configuration_reloaded", " ".join(logs.output))
            calls = Calls()
            gateway.listen(calls)
            async with self.vehicle(gateway.port) as vehicle:
                vehicle.send("V", payload_of(Soc=1), b"tx-1")
                await calls.reached(1)
                await gateway.reload()
                vehicle.send("V", payload_of(Soc=1), b"tx-2")
                await vehicle.until(lambda: vehicle.acked == [b"tx-1", b"tx-2"])

    @on_a_loop
    async def test_problems_and_a_gateway_that_does_not_run(self) -> None:
        gateway = Gateway(self.config(records=MEMORY))
        with self.assertRaises(RuntimeError):
            await gateway.reload()
        async with gateway:
            with self.assertRaises(ConfigurationError):
                await gateway.reload(self.config(prot=1))
            waiting = asyncio.ensure_future(gateway.reload(self.config(prot=1)))
            await asyncio.sleep(0)
            waiting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await waiting
        with self.assertRaises(RuntimeError):
            await gateway.reload()
