"""The ``logger`` sink keeps the contract, except that no record waits, and none is refused."""

from collections.abc import Mapping, Sequence

from twisted.trial.unittest import TestCase

from fleetgw.adapters.sinks.logger.sink import LoggerSink
from fleetgw.adapters.sinks.support.context import SinkContext
from fleetgw.domain.ports import IDispatcher
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received


class LoggerSinkHarness(InMemoryHarness):
    unsendable_type = None

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {}

    def make_sink(self, context: SinkContext) -> IDispatcher:
        self.log = context.log
        return LoggerSink(context)

    async def received(self, at_least: int) -> Sequence[Received]:
        """Lines have no payload; the payloads of the contract follow from txids."""
        return [
            Received(fields["vin"], payload_of(fields["metadata"]["txid"].removeprefix("tx-")))
            for fields in self.log.fields_of("record_payload")
        ]


def payload_of(name: str) -> bytes:
    return b"payload %d" % int(name) if name.isdigit() else name.encode()


class LoggerSinkContractTests(DispatcherContract, TestCase):
    def make_harness(self) -> LoggerSinkHarness:
        return LoggerSinkHarness()
