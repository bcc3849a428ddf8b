"""The readiness of three gateways with one Kafka that dies."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import define

from tests.support.faults.case import FaultCase
from tests.support.faults.connection import Connection, upgrade_request
from tests.support.faults.records import frame, message
from tests.support.faults.vehicle import wait_until
from tests.support.free_ports import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    Answers = list[tuple[int, str]]

QUEUE_RECORDS = 200
FULL = QUEUE_RECORDS * 15 // 16 + 1
"""Number of held records from which on the queue is full."""


@define
class Probed:
    """A gateway with one vehicle.

    :ivar sent: number of records that the vehicle has sent.
    :ivar acked: number of acknowledgements that it has got.
    """

    status_port: int
    vin: str
    vehicle: Connection
    sent: int = 0
    acked: int = 0

    def send(self, count: int) -> None:
        """Send records."""
        txids = [f"{self.vin}-{number}".encode() for number in range(self.sent, self.sent + count)]
        self.sent += count
        self.vehicle.send(b"".join(frame(message(txid, self.vin, "V")) for txid in txids))

    def read_acks(self) -> None:
        """Read until every record is acknowledged."""
        while self.acked < self.sent:
            self.acked += len(self.vehicle.frames())

    def ask(self, path: str) -> tuple[int, str]:
        """Status and body of an answer of the status port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}{path}") as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read().decode()

    @property
    def queue(self) -> dict[str, object]:
        """The queue of Kafka."""
        (sink,) = json.loads(self.ask("/health?verbose")[1])["sinks"]
        queue: dict[str, object] = sink["queue"]
        return queue

    @property
    def held(self) -> object:
        """Number of records in that queue."""
        return self.queue["held"]


class ReadinessTests(FaultCase):
    def test_three_gateways_are_ready_until_their_room_is_used(self) -> None:
        with ExitStack() as stack:
            gateways = [self.probed(stack, number) for number in range(3)]

            def answers() -> Answers:
                return [gateway.ask("/ready") for gateway in gateways]

            for gateway in gateways:
                gateway.send(5)
                gateway.read_acks()
            self.wait_for(answers, [(200, "ok")] * 3)

            self.kafka.kill()
            for gateway in gateways:
                gateway.send(FULL - 1)
            wait_until(lambda: [each.held for each in gateways] == [FULL - 1] * 3, "the queues did not take the records")
            self.wait_for(answers, [(200, "degraded")] * 3)
            for number, gateway in enumerate(gateways, 1):
                gateway.send(QUEUE_RECORDS)
                self.wait_for(answers, [(503, "not_ready")] * number + [(200, "degraded")] * (3 - number))
                self.assertEqual(gateway.queue["state"], "full")
                self.assertEqual([gateway.ask("/live")[0], gateway.ask("/status")[0]], [200, 200])

            self.kafka.start()
            for gateway in gateways:
                gateway.read_acks()
            self.wait_for(answers, [(200, "ok")] * 3)

    def probed(self, stack: ExitStack, number: int) -> Probed:
        """A gateway on ports of its own, and its vehicle."""
        port, status_port = free_ports(2)
        settings = self.settings("V") | {"port": port, "status_port": status_port, "monitoring": {}}
        settings["delivery"] |= {"queue_records": QUEUE_RECORDS}
        stack.enter_context(self.gateway(**settings)).wait_for("server_listening")
        certificate = self.certificates.vehicle_files()[number]
        vehicle = stack.enter_context(Connection(("localhost", port), self.tls_of(certificate)))
        vehicle.upgrade(upgrade_request())
        return Probed(status_port, certificate.stem, vehicle)

    def wait_for(self, answers: Callable[[], Answers], expected: Answers) -> None:
        """Wait for these answers of all gateways."""
        wait_until(lambda: answers() == expected, lambda: f"{answers()} did not become {expected}")
