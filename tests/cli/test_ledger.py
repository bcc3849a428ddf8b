"""``fleetgw ledger`` over a metrics page: golden output, exit status, errors."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import TestCase, mock

from prometheus_client import CollectorRegistry
from rich.console import Console

from fleetgw.adapters.metrics.prometheus import PrometheusExporter
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.app.pipeline.accounts import SinkAccount, VehicleAccount
from fleetgw.cli import main
from fleetgw.domain.ledger import Kept, Unacked
from fleetgw.domain.metrics import LANE_HELD_RECORDS, LANE_UNREAD_POSITIONS, RECORD_TOTAL
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.testing.sink_doubles import make_record
from tests.support.free_ports import free_port

QUIET = """\
URL: records since the start of the gateway

From vehicles
record type   received   acked   not acked   awaiting
─────────────────────────────────────────────────────
V                3,000   3,000           0          0

To sinks
record type   sink    taken   delivered   dead letters   held   lost
────────────────────────────────────────────────────────────────────
V             kafka   3,000       2,988              0     12      0

balanced, nothing lost
"""

BUSY = """\
URL: records since the start of the gateway

From vehicles
record type    received       acked   duplicates   not acked   awaiting
───────────────────────────────────────────────────────────────────────
V             1,204,331   1,204,100            4           8        219
alerts               10          10            0           0          0

To sinks
record type   sink        taken   delivered   dead letters   unheard   given up   held   in spool   refused   retried   lost
────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
V             kafka   1,204,319   1,204,000              3         0          1    315        100         7        40      1
              redis          10           0              0        10          0      0          0         0         0      0
alerts        kafka          10          10              0         0          0      0          0         0         0      0

V: not acked: disconnected 1, full 7
V to kafka: dead letters: log 1, store 2
V to kafka: lost: stopped 1
V to kafka: from the spool, stored before the start: 2,000 records
V to kafka: not in the spool any more: 1 record
kafka: unread in the spool: at most 12,345 records
LOST 1 record that had been acknowledged
balanced
"""


class Page:
    """A metrics page on loopback.

    :ivar body: the text of the page, or the HTTP status in place of it.
    """

    def __init__(self, case: TestCase) -> None:
        self.body: bytes | int = b""
        page = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = page.body if isinstance(page.body, int) else 200 if self.path == "/metrics" else 404
                self.send_response(status)
                self.end_headers()
                if isinstance(page.body, bytes):
                    self.wfile.write(page.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as in the base class
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        case.addCleanup(server.server_close)
        case.addCleanup(thread.join)
        case.addCleanup(server.shutdown)


class LedgerCase(TestCase):
    def setUp(self) -> None:
        self.page = Page(self)
        self.url = f"http://127.0.0.1:{self.page.port}/metrics"
        self.store = MetricStore()

    def receive(self, record_type: str, count: int) -> VehicleAccount:
        self.store.counter(RECORD_TOTAL, record_type=record_type).add(count)
        return VehicleAccount(record_type, self.store)

    def take(self, record_type: str, sink: str, count: int) -> SinkAccount:
        account = SinkAccount(record_type, sink, self.store)
        account.take(count)
        return account

    def quiet(self) -> None:
        """A gateway in normal life."""
        self.receive("V", 3000).ack_at_once(3000)
        self.receive("other", 0)
        self.take("V", "kafka", 3000).deliver(2988)
        self.store.gauge(LANE_HELD_RECORDS, dispatcher="kafka").set_to(12)

    def busy(self) -> None:
        """A gateway to which everything has happened."""
        vehicles = self.receive("V", 1_204_331)
        vehicles.ack_at_once(1_204_000)
        vehicles.awaiting.add(320)
        vehicles.ack([make_record()] * 100, 1_700_000_000_005)
        vehicles.refuse(1, Unacked.DISCONNECTED)
        vehicles.duplicates.add(4)
        vehicles.unacked[Unacked.FULL].add(7)
        self.receive("alerts", 10).ack_at_once(10)
        queue = self.take("V", "kafka", 1_204_319)
        queue.deliver(1_204_000)
        queue.dead_letter(Kept.LOG)
        queue.dead_letter(Kept.STORE)
        queue.dead_letter(Kept.STORE)
        queue.give_up(is_lost=True)
        queue.refused.add(7)
        queue.retried.add(40)
        queue.leave(251)
        queue.read(150)
        queue.skip(1)
        queue.replay(2000)
        unheard = self.take("V", "redis", 10)
        for _ in range(10):
            unheard.unheard()
        self.take("alerts", "kafka", 10).deliver(10)
        self.store.gauge(LANE_HELD_RECORDS, dispatcher="kafka").measured_by(lambda: 315)
        self.store.gauge(LANE_HELD_RECORDS, dispatcher="redis").measured_by(lambda: 0)
        self.store.gauge(LANE_UNREAD_POSITIONS, dispatcher="kafka").set_to(12_345)

    def ledger(self, *arguments: str, status: int = 0) -> str:
        """Output on both streams."""
        if not self.page.body:
            self.page.body = PrometheusExporter(self.store, CollectorRegistry()).exposition()
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self.assertEqual(main(["ledger", *(arguments or ("--url", self.url))]), status, printed.getvalue())
        return "\n".join(line.rstrip() for line in printed.getvalue().replace(self.url, "URL").splitlines()) + "\n"


class LedgerTests(LedgerCase):
    def test_a_narrow_terminal_shows_whole_numbers(self) -> None:
        self.busy()
        with mock.patch("fleetgw.cli.ledger_output.table_console", return_value=Console(width=60, highlight=False)):
            printed = self.ledger(status=1)
        self.assertNotIn("…", printed)
        self.assertRegex(printed, r"\nrecord +dead +given +in\ntype +sink +taken +delivered +letters +unheard +up +held ")
        self.assertRegex(printed, r"\nV +kafka +1,204,319 +1,204,000 +3 +0 +1 +315 +100 +7 +40 +1\n")

    def test_normal_life(self) -> None:
        self.quiet()
        self.assertEqual(self.ledger(), QUIET)

    def test_everything_that_can_happen(self) -> None:
        self.busy()
        self.assertEqual(self.ledger(status=1), BUSY)

    def test_books_that_are_off(self) -> None:
        self.quiet()
        self.take("V", "kafka", 5).deliver(7)
        printed = self.ledger(status=1)
        self.assertEqual(
            printed.splitlines()[-1], "OFF all to kafka: the queue's records 12 = held 10 is off by +2", printed
        )

    def test_json(self) -> None:
        self.busy()
        shown = json.loads(self.ledger("--url", self.url, "--json", status=1))
        self.assertEqual((shown["balanced"], shown["lost"], shown["imbalances"]), (True, 1, []))
        self.assertEqual([each["record_type"] for each in shown["record_types"]], ["V", "alerts"])
        self.assertEqual(shown["record_types"][0]["unacked"]["full"], 7)
        kafka = shown["sinks"][0]
        self.assertEqual((kafka["record_type"], kafka["sink"], kafka["delivered"]), ("V", "kafka", 1_204_000))
        self.assertEqual(kafka["lost"], {"damaged": 0, "spool_limit": 0, "stopped": 1})
        self.assertEqual(
            shown["queues"], [{"sink": "kafka", "held": 315, "unread": 12_345}, {"sink": "redis", "held": 0, "unread": 0}]
        )
        self.store.counter(RECORD_TOTAL, record_type="V").add(1)
        self.page.body = b""
        (imbalance,) = json.loads(self.ledger("--url", self.url, "--json", status=1))["imbalances"]
        self.assertEqual((imbalance["account"], imbalance["off_by"]), ("V", 1))

    def test_the_path_of_the_page_may_be_left_out(self) -> None:
        self.quiet()
        for url in (self.url.removesuffix("metrics"), self.url.removesuffix("/metrics")):
            self.assertIn("balanced", self.ledger("--url", url))

    def test_hostile_record_types_do_not_reach_the_terminal(self) -> None:
        self.receive("a\x1b[2J[red]", 1).ack_at_once(1)
        self.assertIn("a\ufffd[2J[red]", self.ledger())

    def test_watching_goes_on_through_errors_until_interrupted(self) -> None:
        self.quiet()
        looks = []

        def sleep(seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 1:
                self.page.body = 503
            elif len(looks) == 2:
                self.page.body = PrometheusExporter(self.store, CollectorRegistry()).exposition()
            else:
                raise KeyboardInterrupt

        with mock.patch("fleetgw.cli.ledger.time.sleep", sleep):
            printed = self.ledger("--url", self.url, "--watch", "2", "--json", status=130)
        self.assertEqual(looks, [2, 2, 2])
        first, second, third = printed.splitlines()
        self.assertEqual(json.loads(first), json.loads(third))
        self.assertIn("HTTP status 503", second)
        with mock.patch("fleetgw.cli.ledger.time.sleep", side_effect=KeyboardInterrupt):
            self.assertEqual(self.ledger("--url", self.url, "--watch", "2", status=130), "\n" + QUIET)

    def test_bad_seconds(self) -> None:
        for text in ("0", "0.05", "-1", "nan", "inf", "1e300", "soon"):
            with self.subTest(text=text), contextlib.redirect_stderr(io.StringIO()) as printed:
                with self.assertRaises(SystemExit):
                    main(["ledger", "--url", self.url, "--watch", text])
                self.assertIn(f"{text!r} is no number", printed.getvalue())


class CannotReadTests(LedgerCase):
    def test_pages_without_a_ledger(self) -> None:
        for body, said in (
            (404, "has no /metrics: it is a gateway older than this command, or none at all"),
            (b"<html>", "not the metrics page of a gateway"),
            (b"# nothing\n", "has no ledger"),
            (b'record_total{record_type="V"} 3.0\n', "the gateway is older than this command"),
        ):
            with self.subTest(body=body):
                self.page.body = body
                self.assertIn(said, self.ledger(status=2))

    def test_no_gateway_answers(self) -> None:
        port = free_port()
        printed = self.ledger("--url", f"http://127.0.0.1:{port}", status=2)
        self.assertEqual(
            printed,
            f"fleetgw ledger: http://127.0.0.1:{port} cannot be asked: Connection refused; is the gateway running,"
            " and is this its monitoring.prometheus_metrics_port?\n",
        )

    def test_addresses_that_are_none(self) -> None:
        for url in ("127.0.0.1:9090", "ftp://host/metrics", "http://", "http://[", "http://host:port", "file:///etc/passwd"):
            with self.subTest(url=url):
                self.assertIn("is no address of a page; write one such as", self.ledger("--url", url, status=2))

    def test_the_page_of_a_configuration(self) -> None:
        self.quiet()
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        CertificateFolder(folder).ensure_all()
        file = folder / "config.json"
        config = {
            "port": 4443,
            "tls": {
                "ca_file": str(folder / "ca.crt"),
                "server_cert": str(folder / "server.crt"),
                "server_key": str(folder / "server.key"),
            },
            "records": {"V": ["memory"]},
        }
        for host in ("127.0.0.1", "0.0.0.0", ""):
            monitoring = {"prometheus_metrics_port": self.page.port, "prometheus_metrics_host": host}
            file.write_text(json.dumps(config | {"monitoring": monitoring}))
            self.assertEqual(self.ledger("--config", str(file)), QUIET)
        file.write_text(json.dumps(config))
        self.assertIn(f"{file}: monitoring.prometheus_metrics_port is 0", self.ledger("--config", str(file), status=2))
        file.write_text(json.dumps(config | {"records": {"V": ["carrier pigeon"]}}))
        self.assertIn("records.V", self.ledger("--config", str(file), status=2))
