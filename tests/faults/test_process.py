"""Faults of the process and its machine: SIGTERM under load, a wall clock that jumps."""

import signal
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing

from tests.support.deadline import DEADLINE_S
from tests.support.faults.case import VEHICLES, FaultCase
from tests.support.faults.oracle import check_account
from tests.support.faults.vehicle import Habits, wait_until
from tests.support.free_ports import free_port

RECORDS_PER_S = 5000
DAY_S = 86_400
JUMPING_CLOCK = """
import time
wall, wall_ns = time.time, time.time_ns
def jumped_s():
    try:
        with open("jumped_s") as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0
time.time = lambda: wall() + jumped_s()
time.time_ns = lambda: wall_ns() + jumped_s() * 1_000_000_000
"""


class TermTests(FaultCase):
    def status(self, port: int) -> int:
        """The answer of ``/status``; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=DEADLINE_S) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def test_term_under_load(self) -> None:
        """Acknowledged as soon as they are queued, so that only the drain keeps them: not ready, 1001, nothing lost."""
        habits = Habits(rate=RECORDS_PER_S / VEHICLES, window=4000)
        status_port = free_port()
        settings = self.settings("V") | {"status_port": status_port, "drain": {"wait_s": 5}, "ack_policies": {}}
        with self.vehicles(habits=habits) as vehicles:
            with self.gateway(**settings) as gateway:
                gateway.wait_for("server_listening")
                began_s, before = time.monotonic(), len(vehicles.acked)
                vehicles.begin()
                vehicles.wait_for_acks(2 * RECORDS_PER_S)
                rate = (len(vehicles.acked) - before) / (time.monotonic() - began_s)
                self.books()
                gateway.signal(signal.SIGTERM)
                wait_until(lambda: self.status(status_port) == 503, "it is still ready")
                vehicles.wait_for_acks(100)
                term_s = time.monotonic()
                self.assertEqual(gateway.wait(), 0)
                print(f"{rate:.0f} records a second before SIGTERM; drained in {time.monotonic() - term_s:.1f} s")
                self.assertEqual(gateway.events("stopped_server")[0]["undelivered_records"], 0)
                self.assertEqual(gateway.events("dead_letter"), [])
                self.assertEqual([vehicle.closes for vehicle in vehicles.each], [[1001]] * VEHICLES)
                account = check_account(vehicles.issued, vehicles.acked, self.in_kafka.read())
                print(f"at the end of the process: {account}")
            with self.gateway(**settings) as successor:
                vehicles.wait_for_acks(RECORDS_PER_S)
                self.verify(successor, vehicles, self.in_kafka)


class ClockTests(FaultCase):
    def test_the_wall_clock_jumps(self) -> None:
        """A day to and fro: no timer notices, neither those of connections nor those of sinks."""
        limits = {"ping_after_s": 0.5, "ping_timeout_s": 60, "message_timeout_s": 60}
        with self.load(prelude=JUMPING_CLOCK, limits=limits) as (gateway, vehicles):
            idle = self.connect()
            for jump_s in (DAY_S, -DAY_S, 365 * DAY_S, 0):
                (gateway.folder / "jumped_s").write_text(str(jump_s))
                vehicles.wait_for_acks(200)
                while not idle.frames():
                    pass  # a ping, which is answered
            self.assertEqual(gateway.events("ping_timeout") + gateway.events("handshake_timeout"), [])
            self.assertEqual(gateway.events("socket_disconnected"), [])
            self.assertEqual(self.metric("lane_retried_total"), 0)
            with closing(sqlite3.connect(self.folder / "records.sqlite3")) as file:
                ((first_ms, last_ms),) = file.execute("SELECT min(received_at_ms), max(received_at_ms) FROM custom_record")
            self.assertGreater(last_ms - first_ms, DAY_S * 1000, "the clock did not jump")
