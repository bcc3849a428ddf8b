"""Faults of connections: half open, never read, slow, stormy, ambiguous; honest vehicles beside them."""

import subprocess
import sys
import time
from contextlib import suppress

from tests.support.faults import network
from tests.support.faults.case import HONEST, FaultCase, bounded
from tests.support.faults.connection import Connection, upgrade_request
from tests.support.faults.process_facts import descriptors
from tests.support.faults.records import CUSTOM_TYPE, frame, message
from tests.support.faults.vehicle import wait_until
from tests.support.needed import needed

STAGE_S = 5.0
"""Deadline of a stage, which honest vehicles meet on a busy machine, too."""

BEYOND_S = 60.0
"""Allowance beyond a deadline, for a busy machine; without the deadline a test would take two minutes."""

STORM_S = 600


class HalfOpenTests(FaultCase):
    def test_half_open_connection(self) -> None:
        """A vehicle whose cable is pulled is disconnected after ping and timeout, with one record that says so."""
        needed(network.missing())
        limits = {"ping_after_s": STAGE_S, "ping_timeout_s": STAGE_S}
        records = {CUSTOM_TYPE: ["sqlite"], "connectivity": ["logger"]}
        vin = self.certificates.vehicle_files()[-1].stem
        with network.network() as far, self.load(host="0.0.0.0", limits=limits, records=records) as (gateway, _):
            connection = far.call(lambda: Connection((far.host, self.port), self.hostile_tls()))
            self.addCleanup(connection.close)
            connection.upgrade()
            far.pull_the_cable()
            began_s = time.monotonic()
            self.assertEqual(gateway.wait_for("ping_timeout")["device_id"], vin)
            self.assertLess(time.monotonic() - began_s, 2 * STAGE_S + BEYOND_S)
            gateway.wait_for("record_payload", HONEST + 2)
            statuses = [entry["data"] for entry in gateway.events("record_payload") if entry["vin"] == vin]
            self.assertEqual([status["Status"] for status in statuses], ["CONNECTED", "DISCONNECTED"])


class UnreadTests(FaultCase):
    def test_acknowledgements_that_are_never_read(self) -> None:
        limits = {"max_pending_reply_bytes": 65_536, "write_timeout_s": STAGE_S}
        with self.load(limits=limits) as (gateway, vehicles):
            connection = self.connect(buffer_bytes=1024)
            vin = self.certificates.vehicle_files()[-1].stem
            flood = frame(message(b"t" * 1000, vin, "unrouted")) * 50
            with self.undisturbed(gateway, vehicles):
                with suppress(OSError):
                    while not gateway.events("replies_not_read"):
                        connection.send(flood)
                self.assertEqual(gateway.wait_for("replies_not_read")["device_id"], vin)
                vehicles.wait_for_acks(200)


class SlowlorisTests(FaultCase):
    """One byte at a time: each stage has a deadline in all, which no byte extends."""

    def assertCut(self, connection: Connection, slowly: bytes) -> None:
        """Send byte by byte until the gateway says or ends something; in time."""
        self.addCleanup(connection.close)
        began_s = time.monotonic()
        with suppress(OSError):
            for byte in slowly:
                connection.send(bytes([byte]))
                if connection.is_readable(STAGE_S / 20):
                    break
        self.assertLess(time.monotonic() - began_s, STAGE_S + BEYOND_S)

    def test_tls(self) -> None:
        with self.load(limits={"handshake_timeout_s": STAGE_S}) as (gateway, _):
            hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
            self.assertCut(Connection(("localhost", self.port), None), hello)
            gateway.wait_for("handshake_timeout")

    def test_http(self) -> None:
        with self.load(limits={"handshake_timeout_s": STAGE_S}) as (gateway, _):
            request = upgrade_request()[:-2] + b"X: " + bytes(1000)
            self.assertCut(Connection(("localhost", self.port), self.hostile_tls()), request)
            gateway.wait_for("handshake_timeout")

    def test_frame(self) -> None:
        with self.load(limits={"message_timeout_s": STAGE_S}):
            connection = self.connect()
            self.assertCut(connection, b"\x82\xfe\x04\x00mask" + bytes(1000))
            self.assertEqual(connection.wait_for_close(), 1008)

    def test_fragments(self) -> None:
        with self.load(limits={"message_timeout_s": STAGE_S}):
            connection = self.connect()
            self.assertCut(connection, b"\x02\x81maskx" + b"\x00\x81maskx" * 200)
            self.assertEqual(connection.wait_for_close(), 1008)


class StormTests(FaultCase):
    def test_reconnect_storm(self) -> None:
        """Connects from a process of its own, which goes away at any stage: no descriptor is left open."""
        number = bounded(400, 10_000)
        vehicle = self.certificates.vehicle_files()[-1]
        command = [
            sys.executable,
            "-m",
            "tests.support.faults.storm",
            str(self.port),
            vehicle,
            self.certificates.authority_file,
        ]
        with self.load() as (gateway, vehicles):
            before = descriptors(gateway.pid)
            with self.undisturbed(gateway, vehicles):
                done = subprocess.run([*command, str(number)], capture_output=True, check=True, timeout=STORM_S)
            self.assertEqual(int(done.stdout), number // 2)
            wait_until(lambda: descriptors(gateway.pid) <= before, lambda: f"{descriptors(gateway.pid)}, not {before}")
            self.assertEqual(self.metric("num_connections"), len(vehicles.each))


class SameIdTests(FaultCase):
    def test_two_clients_with_one_txid(self) -> None:
        """An acknowledgement goes to the connection that sent the record, also when the other one closes late."""
        one, other = self.certificates.vehicle_files()[-2:]
        with self.load(records={CUSTOM_TYPE: ["sqlite"], "connectivity": ["logger"]}) as (gateway, _):
            first = self.connect(self.tls_of(one), txid="11111111-1111-4111-8111-111111111111")
            second = self.connect(self.tls_of(other), txid="11111111-1111-4111-8111-111111111111")
            third = self.connect(self.tls_of(other), txid="11111111-1111-4111-8111-111111111111")
            for connection, file in ((first, one), (second, other), (third, other)):
                connection.send(frame(message(b"same", file.stem, "unrouted")))
                self.assertEqual(len(connection.frames()), 1)
                self.assertEqual([each.is_readable(0) for each in (first, second, third)], [False] * 3)
            second.send(b"\x88\x80mask")
            second.wait_for_close()
            second.close()
            gateway.wait_for("socket_disconnected")
            first.send(frame(message(b"later", one.stem, "unrouted")))
            self.assertEqual(len(first.frames()), 1)
            third.send(frame(message(b"later", other.stem, "unrouted")))
            self.assertEqual(len(third.frames()), 1)
            for connection in (first, third):
                connection.send(b"\x88\x80mask")
                connection.wait_for_close()
                connection.close()
            gateway.wait_for("record_payload", HONEST + 5)
            ends = [
                entry["vin"] for entry in gateway.events("record_payload") if entry["data"].get("Status") == "DISCONNECTED"
            ]
            self.assertEqual(sorted(ends), sorted((one.stem, other.stem)), "one for each vehicle")


class PipelinedTests(FaultCase):
    def test_bytes_before_the_upgrade_is_answered(self) -> None:
        with self.load() as (gateway, _):
            for behind in (upgrade_request(), b"\x82\x80mask", b"G"):
                with Connection(("localhost", self.port), self.hostile_tls()) as connection:
                    connection.send(upgrade_request() + behind)
                    answer = connection.receive_all()
                self.assertEqual((answer[:12], answer.count(b"HTTP/1.1")), (b"HTTP/1.1 400", 1))
            self.assertEqual(len(gateway.events("socket_connected")), HONEST)
