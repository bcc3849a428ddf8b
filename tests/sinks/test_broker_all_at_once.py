"""The gateway as a process with every sink routed to, every broker real: nothing is missing anywhere, whatever dies.

``FLEETGW_LOAD_S`` is how long the load lasts, ``FLEETGW_LOAD_RATE`` its records a second; figures go to standard output.
"""

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import TestCase

from fleetgw.adapters.sinks.mqtt.messages import MessageWriter
from tests.support.deadline import DEADLINE_S
from tests.support.every_sink import SINKS, Brokers, Consumers, Delivered, keys_of, missing, mqtt_count
from tests.support.free_ports import free_port
from tests.support.gateway_process import BIN, GatewayProcess
from tests.support.needed import needed

JARS = Path(__file__).parents[2] / ".brokers" / "kafka"
LOAD_S = float(os.environ.get("FLEETGW_LOAD_S", "15"))
LOAD_RATE = float(os.environ.get("FLEETGW_LOAD_RATE", "1000"))
FAULT_RATE = 300
FAULT_RECORDS = 3600
BEFORE_S, DOWN_S = 3, 3
VEHICLES = 100
MEMORY_LIMIT_MB = 400
TYPES = ("V", "alerts", "errors")


class Fleet:
    """``fleetgw simulate`` as a process."""

    def __init__(self, folder: Path, port: int, rate: float, count: int, *arguments: str) -> None:
        self._ids = folder / "ids.jsonl"
        command = [BIN / "fleetgw", "simulate", "--url", f"wss://localhost:{port}", "--certs", folder / "certs"]
        command += ["--vehicles", str(VEHICLES), "--rate", str(rate), "--count", str(count), "--json"]
        command += ["--ids", self._ids, "--types", "V=8,alerts=1,errors=1", "--drain", str(DEADLINE_S), *arguments]
        self._report = folder / "report.json"
        with self._report.open("wb") as report:
            self.process = subprocess.Popen(command, cwd=folder, stdout=report, stdin=subprocess.DEVNULL)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def report(self) -> dict[str, Any]:
        return json.loads(self._report.read_text())

    def ids(self, event: str) -> dict[str, str]:
        """Record type by txid."""
        lines = self._ids.read_text().splitlines(keepends=True)
        entries = [json.loads(line) for line in lines if line.endswith("\n")]
        return {entry["txid"]: entry["type"] for entry in entries if entry["event"] == event}


class Usage:
    """Memory and CPU of a process, from /proc."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        self._began_s, self._cpu_s = time.monotonic(), self._used_s()

    def _used_s(self) -> float:
        user, system = (self._folder / "stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def _megabytes(self, name: str) -> float:
        return int((self._folder / "status").read_text().split(f"{name}:")[1].split()[0]) / 1024

    @property
    def memory_mb(self) -> float:
        return self._megabytes("VmRSS")

    @property
    def peak_mb(self) -> float:
        return self._megabytes("VmHWM")

    @property
    def cores(self) -> float:
        return (self._used_s() - self._cpu_s) / (time.monotonic() - self._began_s)


class AllSinksCase(TestCase):
    brokers: Brokers

    @classmethod
    def setUpClass(cls) -> None:
        needed(missing(JARS))
        cls.brokers = Brokers(JARS)
        cls.addClassCleanup(cls.brokers.stop)

    def consumers(self, namespace: str) -> Consumers:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.namespace = namespace
        consumers = Consumers(self.brokers, self.folder, namespace)
        self.addCleanup(consumers.close)
        return consumers

    def gateway(self, consumers: Consumers, sources: dict[str, str], **changes: object) -> GatewayProcess:
        return GatewayProcess(
            self.folder,
            consumers.environ(),
            **consumers.configuration(),
            reliable_ack_sources=sources,
            delivery={"retry_max_s": 2.0},
            **changes,
        )

    def mqtt_messages(self, record: Delivered) -> list[tuple[str, str]]:
        content = record.content
        written = MessageWriter(self.namespace).messages(
            SimpleNamespace(vin=content.vin, content=content, payload=content.SerializeToString())
        )
        return [(message.topic.decode(), message.body.decode()) for message in written]

    def expected(self, sink: str, records: list[Delivered]) -> Counter:
        keys = Counter(key for record in records for key in keys_of(sink, record, self.mqtt_messages))
        return Counter(keys.keys()) if sink == "sqlite" else keys  # which keeps no copies

    def arrived(self, consumers: Consumers, sink: str, expected: Counter) -> Counter:
        """Everything that the consumer of a sink has, as soon as nothing expected is missing."""
        deadline_s = time.monotonic() + DEADLINE_S
        while expected - (found := consumers.arrived(sink)) and time.monotonic() < deadline_s:
            time.sleep(0.5)
        return found

    def say(self, *words: object) -> None:
        print(f"{self.namespace}:", *words, flush=True)

    def stopped_whole(self, gateway: GatewayProcess) -> None:
        self.assertEqual(gateway.stop(), 0, gateway.output()[-4000:])
        self.assertEqual(gateway.events("stopped_server")[0]["undelivered_records"], 0)
        self.assertEqual(gateway.events("dead_letter"), [])
        self.assertNotIn("Traceback", gateway.output())


class LoadTests(AllSinksCase):
    def test_counts_are_equal_everywhere(self) -> None:
        """Every record of the fleet is acknowledged and reaches every consumer once, connectivity records too."""
        consumers = self.consumers("load")
        with self.gateway(consumers, {"V": "kafka", "alerts": "mqtt", "errors": "pubsub"}) as gateway:
            port = gateway.port
            consumers.join()
            count = int(LOAD_RATE * LOAD_S)
            with Fleet(self.folder, port, LOAD_RATE, count, "--resend-after", str(DEADLINE_S)) as fleet:
                usage = Usage(gateway.pid)
                middle_mb = self.watch(usage, fleet)
                self.say("gateway cores", round(usage.cores, 2), "peak MB", round(usage.peak_mb))
                self.say(json.dumps(fleet.report()))
                self.assertEqual(fleet.process.returncode, 0)
            gateway.wait_for("socket_disconnected", VEHICLES)
            self.assertLess(usage.peak_mb, MEMORY_LIMIT_MB)
            self.assertLess(usage.memory_mb, middle_mb + 60, "memory grows with what has passed")
            self.stopped_whole(gateway)
        records = consumers.records()
        issued, acked = fleet.ids("issued"), fleet.ids("acked")
        by_type = Counter(record.record_type for record in records)
        self.say(dict(by_type), consumers.counts())
        self.assertEqual(len(issued), count)
        self.assertEqual(issued, acked)
        self.assertEqual({one.txid: one.record_type for one in records if one.record_type in TYPES}, issued)
        self.assertEqual(by_type, Counter(issued.values()) + Counter(connectivity=2 * VEHICLES))
        for sink in SINKS:
            expected = self.expected(sink, records)
            arrived = self.arrived(consumers, sink, expected)
            self.say(sink, "arrived", arrived.total(), "expected", expected.total())
            with self.subTest(sink):
                self.assertEqual(len(expected - arrived), 0, "missing")
                self.assertEqual(len(arrived - expected), 0, "too many")
        self.assertEqual(consumers.arrived("mqtt").total(), sum(mqtt_count(record.content) for record in records))

    def watch(self, usage: Usage, fleet: Fleet) -> float:
        """Wait for the fleet's end; the gateway's memory in the middle."""
        middle_s, middle_mb = time.monotonic() + LOAD_S / 2, 0.0
        while fleet.process.poll() is None:
            time.sleep(0.2)
            if not middle_mb and time.monotonic() > middle_s:
                middle_mb = usage.memory_mb
        return middle_mb


class OutageTests(AllSinksCase):
    def test_kafka(self) -> None:
        self.killed_and_started("kafka")

    def test_redis(self) -> None:
        """A server that dies between its answer and its write to the subscriber loses a record: some microseconds."""
        self.killed_and_started("redis")

    def test_mqtt(self) -> None:
        self.killed_and_started("mqtt")

    def test_kinesis(self) -> None:
        self.killed_and_started("kinesis")

    def test_pubsub(self) -> None:
        self.killed_and_started("pubsub")

    def killed_and_started(self, sink: str) -> None:
        """Under load, with the broker as reliable source: acknowledged records are everywhere, no other sink is blocked."""
        consumers = self.consumers(f"without-{sink}")
        with self.gateway(consumers, dict.fromkeys(TYPES, sink)) as gateway:
            port = gateway.port
            consumers.join()
            with Fleet(self.folder, port, FAULT_RATE, FAULT_RECORDS, "--resend-after", "4") as fleet:
                usage = Usage(gateway.pid)
                gateway.wait_for("record_payload", FAULT_RATE * BEFORE_S)
                end, start = self.brokers.outage(sink)
                end()
                time.sleep(0.5)
                before, acked_before = consumers.counts(sink), fleet.ids("acked")
                time.sleep(DOWN_S)
                meanwhile, acked_meanwhile = consumers.counts(sink), fleet.ids("acked")
                start()
                self.assertIsNone(fleet.process.poll(), "the load was over before the broker was back")
                fleet.process.wait(DEADLINE_S)
                self.say(json.dumps(fleet.report()["records"]), "retries", len(gateway.events("dispatch_retry")))
            self.say("peak MB", round(usage.peak_mb), "memory MB", round(usage.memory_mb), "cores", round(usage.cores, 2))
            self.assertLess(usage.peak_mb, MEMORY_LIMIT_MB)
            gateway.wait_for("socket_disconnected", VEHICLES)
            self.stopped_whole(gateway)
        self.say("down", before, "then", meanwhile)
        for other, count in before.items():
            with self.subTest(other):
                self.assertGreater(meanwhile[other] - count, FAULT_RATE * DOWN_S / 2, "did not go on")
        self.assertEqual(acked_meanwhile, acked_before, "acked while it was away")
        self.assertEqual(fleet.ids("issued"), fleet.ids("acked"))
        self.missing_nowhere(consumers, fleet.ids("acked"))

    def missing_nowhere(self, consumers: Consumers, acked: dict[str, str]) -> None:
        found = {record.txid: record for record in consumers.records()}
        self.assertEqual(acked.keys() - found.keys(), set(), "acked, and not at Pub/Sub")
        records = [found[txid] for txid in acked]
        for sink in SINKS:
            expected = self.expected(sink, records)
            missing = expected - self.arrived(consumers, sink, expected)
            self.say(sink, "acked", len(records), "missing", len(missing))
            with self.subTest(sink):
                self.assertEqual(len(missing), 0)

    def test_sqlite(self) -> None:
        """Its broker is the gateway: after SIGKILL under load and a new start, the file has every acknowledged record."""
        consumers = self.consumers("without-gateway")
        sources = {"V": "sqlite"}
        with self.gateway(consumers, sources, port=free_port()) as gateway:
            port = gateway.port
            with Fleet(self.folder, port, FAULT_RATE, FAULT_RECORDS, "--types", "V", "--resend-after", "4") as fleet:
                gateway.wait_for("record_payload", FAULT_RATE * BEFORE_S)
                gateway.signal(signal.SIGKILL)
                gateway.wait()
                with self.gateway(consumers, sources, port=port) as second:
                    self.assertEqual(second.port, port)
                    self.assertIsNone(fleet.process.poll(), "the load was over before the gateway was back")
                    fleet.process.wait(DEADLINE_S)
                    self.say(json.dumps(fleet.report()["records"]))
                    self.stopped_whole(second)
        self.assertEqual(fleet.ids("issued"), fleet.ids("acked"))
        stored = {txid for _, txid, *_ in consumers.arrived("sqlite")}
        self.assertEqual(fleet.ids("acked").keys() - stored, set())
