"""Dispatches records to a sink as a lane does, with retries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from fleetgw.domain.errors import Rejected, Unheard
from fleetgw.domain.ports import Receipt
from fleetgw.testing.real_reactor import pause, the_reactor
from fleetgw.testing.sink_doubles import make_record
from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fleetgw.domain.ports import IDispatcher
    from fleetgw.domain.records import Record
    from tests.support.stub_server import StubServer


class Delivery:
    """Dispatches to one sink, on the real reactor: each record is retried until it has a receipt or is rejected.

    An unheard record is retried, too: a subscriber may need a moment to connect.

    :param pause_s: before those of a batch that have none are offered again.
    :param timeout_s: how long a batch may take.
    :ivar confirmed: records, in the order of their receipts.
    :ivar refused: records, likewise.
    :ivar retried: how many records were offered again; one counts each time.
    """

    def __init__(self, sink: IDispatcher, *, pause_s: float = 0.1, timeout_s: float = DEADLINE_S) -> None:
        self._sink = sink
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._under_way: list[Deferred[None]] = []
        self.confirmed: list[Record] = []
        self.refused: list[Record] = []
        self.retried = 0

    def begin(self, records: Sequence[Record]) -> None:
        """Deliver a batch in the background; ``done`` waits for it."""
        self._under_way.append(Deferred.fromCoroutine(self.deliver(records)))

    async def done(self) -> None:
        """Wait for every batch in the background.

        :raises AssertionError: one of them took too long.
        """
        under_way, self._under_way = self._under_way, []
        for delivered in under_way:
            await delivered

    async def deliver(self, records: Sequence[Record]) -> None:
        """Deliver a batch, and wait for it.

        :raises AssertionError: it takes too long; with an outcome.
        """
        deadline_s = the_reactor().seconds() + self._timeout_s
        while records:
            outcomes = await self._sink.dispatch(records)
            pairs = list(zip(records, outcomes, strict=True))
            self.confirmed += [record for record, outcome in pairs if isinstance(outcome, Receipt)]
            refused = [
                record for record, outcome in pairs if isinstance(outcome, Rejected) and not isinstance(outcome, Unheard)
            ]
            self.refused += refused
            records = [record for record, outcome in pairs if record not in refused and not isinstance(outcome, Receipt)]
            if records:
                if the_reactor().seconds() > deadline_s:
                    raise AssertionError(f"no receipt in time, last {outcomes[0]}")
                self.retried += len(records)
                await pause(self._pause_s)


async def deliver_through_outage(sink: IDispatcher, server: StubServer) -> set[bytes]:
    """Deliver records in a stream while their destination goes away and comes back; the payload of each."""
    delivery = Delivery(sink, pause_s=0.3)
    payloads = set()
    for number in range(60):
        records = [make_record(f"VIN{number % 4}", payload=b"%d.%d" % (number, place)) for place in range(10)]
        payloads |= {record.payload for record in records}
        delivery.begin(records)
        if number == 20:
            server.go_away()
        if number == 30:
            server.come_back()
        await pause(0.01)
    await delivery.done()
    return payloads
