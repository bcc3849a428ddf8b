"""StatsD: lines, datagrams, and an exporter with a server on loopback."""

import re
import socket
from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.metrics import statsd
from fleetgw.adapters.metrics.statsd import StatsdExporter, StatsdSettings
from fleetgw.adapters.metrics.statsd_lines import StatsdLines, datagrams
from fleetgw.adapters.metrics.store import MetricStore
from fleetgw.domain.metrics import Kind, Metric
from fleetgw.testing.sink_doubles import ReadableLog, ThreadlessReactor
from tests.metrics.test_metrics import VECTORS
from tests.support.deadline import DEADLINE_S
from tests.support.metrics_contract import COUNTED, MEASURED, SPREAD

ETHERNET_PAYLOAD_BYTES = 1500 - 40 - 8
"""Room in an Ethernet frame behind the headers of IPv6 and UDP."""


class LinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = MetricStore()

    def flush(self, lines: StatsdLines, *, every_gauge: bool = False) -> list[str]:
        return [line.decode() for line in lines.flush(self.store, every_gauge=every_gauge)]

    def test_the_go_server_s_lines(self) -> None:
        """Counting the Go server's lines gives the lines of their sums, without the empty tag."""
        sample = VECTORS["samples"]["statsd"]
        metrics = {case["name"]: Metric(case["name"], Kind.COUNTER, "h", tuple(case["labels"])) for case in VECTORS["cases"]}
        sums: dict[str, int] = {}
        for line in sample["lines"]:
            name, tag, value, amount = re.fullmatch(r"ft\.(\w+)(?:,=,(\w+)=(.*))?:(\d+)\|c", line, re.DOTALL).groups()
            self.store.counter(metrics[name], **({tag: value} if tag else {})).add(int(amount))
            series = line.rpartition(":")[0].replace(",=,", ",")
            sums[series] = sums.get(series, 0) + int(amount)
        lines = self.flush(StatsdLines(sample["config"]["monitoring"]["statsd"]["prefix"]))
        self.assertEqual(sorted(lines), sorted(f"{series}:{total}|c" for series, total in sums.items()))
        self.assertGreater(len(lines), 20)

    def test_counters_send_increments_and_nothing_without_a_change(self) -> None:
        lines = StatsdLines("ft.")
        counter = self.store.counter(COUNTED, record_type="V", dispatcher="kafka")
        self.assertEqual(self.flush(lines), [])
        for amount in (2, 3):
            counter.add(amount)
            self.assertEqual(self.flush(lines), [f"ft.counted,record_type=V,dispatcher=kafka:{amount}|c"])
        self.assertEqual(self.flush(lines), [])

    def test_gauges_are_sent_at_first_when_they_change_and_when_all_are_asked_for(self) -> None:
        lines = StatsdLines("")
        gauge = self.store.gauge(MEASURED)
        self.assertEqual(self.flush(lines), ["measured:0|g"])
        self.assertEqual(self.flush(lines), [])
        gauge.set_to(2.5)
        self.assertEqual(self.flush(lines), ["measured:2.5|g"])
        self.assertEqual(self.flush(lines, every_gauge=True), ["measured:2.5|g"])

    def test_a_negative_gauge_is_reset_first_and_one_that_is_not_finite_is_left_out(self) -> None:
        lines = StatsdLines("")
        gauge = self.store.gauge(MEASURED)
        gauge.set_to(-1.5)
        self.assertEqual(self.flush(lines), ["measured:0|g", "measured:-1.5|g"])
        for value in (float("nan"), float("inf")):
            gauge.set_to(value)
            self.assertEqual(self.flush(lines), [])

    def test_a_histogram_is_sent_as_counters_and_its_sum_in_whole_units(self) -> None:
        lines = StatsdLines("ft.")
        histogram = self.store.histogram(SPREAD, dispatcher="kafka")
        self.assertEqual(self.flush(lines), [])
        histogram.observe(0.75, 3)
        self.assertEqual(
            self.flush(lines),
            [
                "ft.spread_bucket,dispatcher=kafka,le=1:3|c",
                "ft.spread_bucket,dispatcher=kafka,le=2.5:3|c",
                "ft.spread_bucket,dispatcher=kafka,le=+Inf:3|c",
                "ft.spread_count,dispatcher=kafka:3|c",
                "ft.spread_sum,dispatcher=kafka:2|c",
            ],
        )
        histogram.observe(1.75)
        self.assertIn("ft.spread_sum,dispatcher=kafka:2|c", self.flush(lines))  # with the remainder of before
        self.assertEqual(self.flush(lines, every_gauge=True), [])

    def test_label_values_cannot_end_a_tag(self) -> None:
        metric = Metric("m", Kind.COUNTER, "h", ("type",))
        for value in ("a,b=c:1|g#@;d e\nf", "тип", b"\xff".decode("utf-8", "surrogateescape")):
            self.store.counter(metric, type=value).add(1)
        self.assertEqual(self.flush(StatsdLines("")), ["m,type=a_b_c_1_g___d_e_f:1|c", "m,type=тип:1|c", "m,type=?:1|c"])

    def test_a_sampled_increment_has_its_rate(self) -> None:
        drawn = iter((0.6, 0.1))
        lines = StatsdLines("", 0.5, lambda: next(drawn))
        counter = self.store.counter(Metric("m", Kind.COUNTER, "h"))
        counter.add(2)
        self.assertEqual(self.flush(lines), [])
        counter.add(3)
        self.assertEqual(self.flush(lines), ["m:3|c|@0.5"])

    def test_gauges_are_never_sampled(self) -> None:
        self.store.gauge(MEASURED).set_to(1)
        self.assertEqual(self.flush(StatsdLines("", 0.5, lambda: 1.0)), ["measured:1|g"])


class DatagramTests(SynchronousTestCase):
    def test_lines_fill_datagrams_up_to_the_bound(self) -> None:
        self.assertEqual(list(datagrams([b"a:1|c", b"b:1|c", b"c:1|c"], 11)), [b"a:1|c\nb:1|c", b"c:1|c"])
        self.assertEqual(list(datagrams([b"x" * 20, b"y"], 11)), [b"x" * 20, b"y"])
        self.assertEqual(list(datagrams([])), [])


class ExporterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", 0))
        self.server.settimeout(DEADLINE_S)
        self.reactor = ThreadlessReactor()
        self.log = ReadableLog()
        self.store = MetricStore()
        self.counter = self.store.counter(Metric("m", Kind.COUNTER, "h"))
        self.gauge = self.store.gauge(MEASURED)

    def start(self, host: str = "127.0.0.1", flush_period_s: float = 0.1) -> StatsdExporter:
        settings = StatsdSettings(host, self.server.getsockname()[1], "ft.", flush_period_s=flush_period_s)
        exporter = StatsdExporter(self.store, settings, self.reactor, self.log)
        self.successResultOf(exporter.start())
        self.addCleanup(exporter.stop)
        self.reactor.advance(0)
        return exporter

    def received(self) -> Sequence[str]:
        return self.server.recv(65536).decode().split("\n")

    def events(self) -> list[str]:
        return [event for _, event, _ in self.log.entries if event != "new_statsd_client"]

    def test_every_flush_period_until_the_stop_which_sends_the_rest(self) -> None:
        exporter = self.start()
        self.counter.add(2)
        self.reactor.advance(0.1)
        self.assertEqual(self.received(), ["ft.m:2|c", "ft.measured:0|g"])
        self.reactor.advance(0.1)
        self.counter.add(3)
        self.reactor.advance(0.1)
        self.assertEqual(self.received(), ["ft.m:3|c"])
        self.counter.add(4)
        self.successResultOf(exporter.stop())
        self.assertEqual(self.received(), ["ft.m:4|c"])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.events(), [])
        self.successResultOf(exporter.stop())

    def test_unchanged_gauges_are_sent_every_ten_seconds(self) -> None:
        self.start()
        self.reactor.pump([0.1] * 100)
        self.assertEqual(self.received(), ["ft.measured:0|g"])
        self.server.setblocking(False)
        self.assertRaises(BlockingIOError, self.received)
        self.reactor.pump([0.1] * 3)
        self.assertEqual(self.received(), ["ft.measured:0|g"])

    def test_many_lines_leave_in_bounded_datagrams(self) -> None:
        metric = Metric("m_of", Kind.COUNTER, "h", ("type",))
        for number in range(200):
            self.store.counter(metric, type=f"type_{number}").add(1)
        self.start()
        self.reactor.advance(0.1)
        lines: list[str] = []
        while len(lines) < 201:
            received = self.received()
            self.assertLessEqual(len("\n".join(received)), ETHERNET_PAYLOAD_BYTES)
            lines += received
        self.assertEqual(len(set(lines)), 201)

    def test_a_datagram_without_room_in_the_kernel_is_lost_silently(self) -> None:
        class Full:
            def send(self, _datagram: bytes) -> None:
                raise BlockingIOError

        exporter = self.start()
        usable, exporter._socket = exporter._socket, Full()
        self.counter.add(1)
        self.reactor.advance(0.1)
        exporter._socket = usable
        self.counter.add(2)
        self.reactor.advance(0.1)
        self.assertEqual(self.received(), ["ft.m:2|c"])
        self.assertEqual(self.events(), [])

    def test_a_server_that_is_down_is_logged_once_and_so_is_its_return(self) -> None:
        self.start()
        port = self.server.getsockname()[1]
        self.server.close()
        for _ in range(50):
            self.counter.add(1)
            self.reactor.advance(0.1)
        self.assertEqual(self.events(), ["statsd_not_reached"])
        (level, _, fields) = self.log.entries[-1]
        self.assertEqual((level, fields["host"], fields["port"]), ("warn", "127.0.0.1", port))
        self.assertIn("refused", str(fields["error"]))
        self.server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(self.server.close)
        self.server.bind(("127.0.0.1", port))
        self.server.settimeout(DEADLINE_S)
        self.reactor.advance(0.1)
        self.counter.add(7)
        self.reactor.advance(0.1)
        self.assertIn("ft.m:7|c", self.received())
        self.reactor.pump([0.1] * 310)
        self.assertEqual(self.events(), ["statsd_not_reached", "statsd_reached"])

    def test_a_server_that_is_down_is_logged_once_at_long_flush_periods_too(self) -> None:
        self.start(flush_period_s=35)
        self.server.close()
        for _ in range(8):
            self.counter.add(1)
            self.reactor.advance(35)
        self.assertEqual(self.events(), ["statsd_not_reached"])

    def test_one_look_up_at_a_time(self) -> None:
        look_ups: list[object] = []
        self.patch(self.reactor, "callInThread", look_ups.append)
        self.start("stats")
        self.reactor.pump([1] * 200)
        self.assertEqual(len(look_ups), 1)

    def test_a_name_that_is_unknown_is_looked_up_again_and_nothing_is_lost(self) -> None:
        addresses: list[str] = []

        def look_up(host: str, port: int) -> socket.socket:
            self.assertEqual(host, "stats")
            if not addresses:
                raise OSError("no such name")
            return real(addresses[0], port)

        real = statsd._connected
        self.patch(statsd, "_connected", look_up)
        self.start("stats")
        self.counter.add(5)
        self.reactor.pump([1] * 59)
        self.assertEqual(self.events(), ["statsd_not_reached"])
        addresses.append("127.0.0.1")
        self.reactor.pump([1] * 3)
        self.assertEqual(self.received()[0], "ft.m:5|c")

    def test_a_name_that_no_host_can_have_is_told_and_looked_up_again(self) -> None:
        look_ups: list[object] = []
        call = self.reactor.callInThread
        self.patch(self.reactor, "callInThread", lambda *what: look_ups.append(what) or call(*what))
        self.start("a..b")
        self.reactor.pump([1] * 61)
        self.assertEqual((self.events(), len(look_ups)), (["statsd_not_reached"], 2))

    def test_a_name_that_is_not_found_again_leaves_the_address_in_use(self) -> None:
        self.start()

        def fail(_host: str, _port: int) -> socket.socket:
            raise OSError("no such name")

        self.patch(statsd, "_connected", fail)
        self.reactor.pump([1] * 62)
        self.counter.add(1)
        self.reactor.advance(1)
        while "ft.m:1|c" not in self.received():  # the gauge of every ten seconds comes first
            pass
        self.assertEqual(self.events(), [])

    def test_a_socket_that_comes_after_the_stop_is_closed(self) -> None:
        made: list[socket.socket] = []
        real = statsd._connected
        self.patch(statsd, "_connected", lambda *where: made.append(real(*where)) or made[0])
        exporter = StatsdExporter(
            self.store, StatsdSettings("127.0.0.1", self.server.getsockname()[1]), self.reactor, self.log
        )
        exporter.start()
        exporter.stop()
        self.reactor.advance(0)
        self.assertEqual(made[0].fileno(), -1)
