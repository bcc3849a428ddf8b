"""The spool of a gateway inside an asyncio program, over real sockets and a real folder."""

from fleetgw.embed import Gateway, Record
from tests.support.asyncio_case import AsyncioCase, Calls, on_a_loop
from tests.support.embed_case import payload_of


class SpoolTests(AsyncioCase):
    @on_a_loop
    async def test_what_was_acknowledged_and_not_handled_comes_in_the_next_run(self) -> None:
        config = self.config(
            ack_policies={"V": "spooled"},
            spool={"path": str(self.folder / "spool")},
            delivery={"retry_initial_s": 60, "retry_max_s": 60, "drain_timeout_s": 0.2},
        )
        failing = Gateway(config)

        def fail(record: Record) -> None:
            raise ZeroDivisionError(record.txid)

        failing.listen(fail, record_type="V")
        async with failing, self.vehicle(failing.port) as vehicle:
            for number in range(3):
                vehicle.send("V", payload_of(Soc=number), b"tx-%d" % number)
            await vehicle.until(lambda: len(vehicle.acked) == 3)
        calls = Calls()
        gateway = Gateway(config)
        gateway.listen(calls, record_type="V")
        async with gateway:
            await calls.reached(3)
        self.assertEqual(calls.txids, ["tx-0", "tx-1", "tx-2"])
