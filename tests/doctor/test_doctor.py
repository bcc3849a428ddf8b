"""The doctor: checks side by side, each in its time; certificates, clock, ports, open files; any sink; what is printed."""

import io
import json
import socket
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from resource import RLIM_INFINITY
from threading import Thread
from types import SimpleNamespace
from unittest import TestCase
from unittest.mock import patch

import msgspec
from rich.console import Console
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.certificates import authorities_findings, own_certificate_findings
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import check_alternatives, check_reachable, check_tls, guess_server, split_address
from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.app.config import parse_config
from fleetgw.app.config.limits import Limits
from fleetgw.app.config.sections import Config
from fleetgw.app.doctor.checkup import Check, Diagnosis, examine
from fleetgw.app.doctor.host import clock_findings, host_checks, memory_findings, open_file_findings, port_findings
from fleetgw.app.doctor.report import as_json, print_table, without_secrets
from fleetgw.app.doctor.sinks import READY_WITHIN_S, Trial, sink_checks
from fleetgw.domain.errors import ConfigurationError, Problem
from fleetgw.domain.ports import Finding, IDiagnosable, IDispatcher, NotReady, Ready, Verdict
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.simulator.certificates import make_authority, make_server
from fleetgw.testing.sink_doubles import ThreadlessReactor
from tests.support.free_ports import free_port

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
GOOD, LOOK, BAD = Verdict


class AtOnce:
    """A worker that does its jobs in the calling thread."""

    def __init__(self, name: str) -> None:
        pass

    def do(self, job) -> None:
        job()

    def quit(self) -> None:
        pass


class Never(AtOnce):
    """A worker whose jobs hang."""

    def do(self, job) -> None:
        pass


def verdicts(findings: Sequence[Finding]) -> list[Verdict]:
    return [finding.verdict for finding in findings]


class BlockingProbeTests(SynchronousTestCase):
    def diagnosis(self, look) -> Sequence[Finding]:
        reactor = ThreadlessReactor()
        answer = BlockingProbe(look, reactor, AtOnce).diagnose()
        self.assertNoResult(answer)
        reactor.advance(0)
        return self.successResultOf(answer)

    def test_findings_come_in_order(self) -> None:
        self.assertEqual(self.diagnosis(lambda: iter([good("a"), good("b")])), (good("a"), good("b")))

    def test_what_it_raises_is_a_finding(self) -> None:
        def look() -> Iterator[Finding]:
            yield good("so far")
            raise RuntimeError("the library is broken")

        first, last = self.diagnosis(look)
        self.assertEqual(first, good("so far"))
        self.assertEqual(last.verdict, BAD)
        self.assertIn("RuntimeError: the library is broken", last.what)

    def test_refused_settings_are_findings(self) -> None:
        def look() -> Iterator[Finding]:
            yield from ()
            raise ConfigurationError([Problem("redis.addrs", "is empty", "name a server")])

        self.assertEqual(self.diagnosis(look), (will_not_work("redis.addrs: is empty", "name a server"),))

    def test_given_up_with_what_was_found(self) -> None:
        reactor = ThreadlessReactor()
        answer = Deferred()

        def look() -> Iterator[Finding]:
            yield good("so far")
            answer.cancel()  # while the look is under way
            yield good("too late")

        made = BlockingProbe(look, reactor, Never)
        answer = made.diagnose()
        made._run(answer)
        self.assertEqual(self.successResultOf(answer), (good("so far"),))
        reactor.advance(0)  # its end, when nobody waits any more


@implementer(IDiagnosable)
class Scripted:
    def __init__(self, answer: Deferred[Sequence[Finding]]) -> None:
        self.answer = answer

    def diagnose(self) -> Deferred[Sequence[Finding]]:
        return self.answer


class ExamineTests(SynchronousTestCase):
    def test_side_by_side_in_order(self) -> None:
        first, second, done = Deferred(), Deferred(), []
        clock = ThreadlessReactor()
        result = examine([Check("one", Scripted(first)), Check("two", Scripted(second))], clock, done.append)
        second.callback([good("b")])
        self.assertEqual(done, ["two"])
        first.callback([good("a")])
        self.assertEqual(self.successResultOf(result), [Diagnosis("one", (good("a"),)), Diagnosis("two", (good("b"),))])
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_ends_in_time(self) -> None:
        hangs = Deferred(lambda answer: answer.callback([good("so far")]))
        clock = ThreadlessReactor()
        result = examine([Check("one", Scripted(hangs))], clock, lambda _: None, timeout_s=5)
        clock.advance(4.9)
        self.assertNoResult(result)
        clock.advance(0.1)
        (diagnosis,) = self.successResultOf(result)
        self.assertEqual(verdicts(diagnosis.findings), [GOOD, BAD])
        self.assertIn("no answer within 5 s", diagnosis.findings[1].what)
        self.assertFalse(diagnosis.works)

    def test_one_that_fails_is_a_finding(self) -> None:
        checks = [Check("strange", Scripted(fail(RuntimeError("oops")))), Check("fine", Scripted(succeed([good("a")])))]
        strange, fine = self.successResultOf(examine(checks, ThreadlessReactor(), lambda _: None))
        self.assertIn("oops", strange.findings[0].what)
        self.assertTrue(fine.works)


@implementer(IDispatcher)
class Sink:
    """A third party's, which does as it is told."""

    name = "third"

    def __init__(self, *, starts: Deferred[None] | None = None, ready_after_looks: int | None = 0) -> None:
        self.starts = succeed(None) if starts is None else starts
        self.looks_left = ready_after_looks
        self.stopped = 0

    def start(self) -> Deferred[None]:
        return self.starts

    def dispatch(self, batch):
        raise AssertionError("the doctor publishes nothing")

    def stop(self) -> Deferred[None]:
        self.stopped += 1
        return succeed(None)

    def readiness(self):
        if self.looks_left == 0:
            return Ready()
        if self.looks_left is not None:
            self.looks_left -= 1
        return NotReady("the broker is asleep")


class TrialTests(SynchronousTestCase):
    def test_ready(self) -> None:
        sink, clock = Sink(ready_after_looks=3), ThreadlessReactor()
        answer = Trial(sink, clock).diagnose()
        clock.pump([0.1] * 4)
        self.assertEqual(self.successResultOf(answer), [good("starts, is ready, stops")])
        self.assertEqual(sink.stopped, 1)

    def test_never_ready(self) -> None:
        sink, clock = Sink(ready_after_looks=None), ThreadlessReactor()
        answer = Trial(sink, clock).diagnose()
        clock.pump([0.1] * int(READY_WITHIN_S * 10 + 2))
        (finding,) = self.successResultOf(answer)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("the broker is asleep", finding.what)
        self.assertEqual(sink.stopped, 1)

    def test_does_not_start(self) -> None:
        errors = (
            (ConfigurationError([Problem("x.y", "is wrong", "mend it")]), "x.y: is wrong"),
            (OSError("oops"), "OSError: oops"),
        )
        for error, said in errors:
            with self.subTest(said):
                sink = Sink(starts=fail(error))
                (finding,) = self.successResultOf(Trial(sink, ThreadlessReactor()).diagnose())
                self.assertEqual(finding.verdict, BAD)
                self.assertIn(said, finding.what)
                self.assertEqual(sink.stopped, 0)

    def test_given_up(self) -> None:
        for sink in (Sink(starts=Deferred()), Sink(ready_after_looks=None)):
            clock = ThreadlessReactor()
            answer = Trial(sink, clock).diagnose()
            answer.cancel()
            self.assertEqual(self.successResultOf(answer), [])
            self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(sink.stopped, 1)


class FolderTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def written(self, name: str, *pems: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(pems))
        return path


class CertificateTests(FolderTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = make_authority(NOW, 1000, "Fleet CA")
        self.server = make_server(self.authority, ["gateway.example", "10.0.0.1"], NOW, 400)
        self.key = self.written("server.key", self.server.key_pem())

    def own(self, *pems: bytes, now: datetime = NOW) -> list[Finding]:
        return list(own_certificate_findings(self.written("server.crt", *pems), self.key, now))

    def test_as_it_should_be(self) -> None:
        certificate, chain, key = self.own(self.server.certificate_pem(), self.authority.certificate_pem())
        self.assertEqual(
            certificate,
            good("server.crt: for gateway.example, 10.0.0.1, issued by Fleet CA, valid until 2027-12-28, 400 days left"),
        )
        self.assertEqual(chain, good("chain: gateway.example < Fleet CA"))
        self.assertEqual(key, good("server.key is its key"))

    def test_dates(self) -> None:
        for days, verdict, said in (
            (380, LOOK, "20 days left"),
            (399.5, LOOK, "0 days left"),
            (401, BAD, "expired on 2027-12-28"),
            (-2, BAD, "not valid before 2026-11-22 12:00 UTC, this clock says 2026-11-21 12:00"),
        ):
            with self.subTest(days):
                finding, *_ = self.own(self.server.certificate_pem(), now=NOW + timedelta(days=days))
                self.assertEqual(finding.verdict, verdict)
                self.assertIn(said, finding.what)
                self.assertNotEqual(finding.fix, "")

    def test_chain_out_of_order(self) -> None:
        other = make_authority(NOW, 1000, "Another CA")
        _, chain, _ = self.own(self.server.certificate_pem(), other.certificate_pem())
        self.assertEqual(chain.verdict, BAD)
        self.assertIn("Another CA did not issue gateway.example", chain.what)

    def test_key_of_another(self) -> None:
        self.written("server.key", self.authority.key_pem())
        self.assertEqual(verdicts(self.own(self.server.certificate_pem())), [GOOD, GOOD, BAD])
        self.written("server.key", b"no key")
        self.assertEqual(verdicts(self.own(self.server.certificate_pem())), [GOOD, GOOD, BAD])

    def test_no_certificate(self) -> None:
        self.assertEqual(verdicts(self.own(b"nothing")), [BAD])
        self.assertEqual(verdicts(list(own_certificate_findings(self.folder / "lost.crt", self.key, NOW))), [BAD])

    def test_authorities(self) -> None:
        old = make_authority(NOW - timedelta(days=50), 40, "Old CA")
        both = self.written("both.crt", self.authority.certificate_pem(), old.certificate_pem())
        present, expired = authorities_findings(both, NOW)
        self.assertIn("1 authority, the first to expire is Fleet CA", present.what)
        self.assertEqual(expired, worth_a_look("both.crt: expired: Old CA", "replace or remove them"))
        (none,) = authorities_findings(self.written("old.crt", old.certificate_pem()), NOW)
        self.assertEqual(none.verdict, BAD)


class NetworkTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        for text, expected in (
            ("kafka:9093", ("kafka", 9093)),
            ("kafka", ("kafka", 9092)),
            ("[::1]:9093", ("::1", 9093)),
            ("[::1]", ("::1", 9092)),
        ):
            self.assertEqual(split_address(text, 9092), expected)

    def test_nobody_listens(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.assertEqual(list(check_reachable("127.0.0.1", port)), [good(f"127.0.0.1:{port} takes connections")])
        (finding,) = check_reachable("127.0.0.1", port)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("refuses connections", finding.what)
        self.assertEqual(guess_server("127.0.0.1", port), "it does not say what it is")
        self.assertEqual(verdicts(list(check_tls("127.0.0.1", port, None, "localhost"))), [BAD])

    def test_one_of_several_is_enough(self) -> None:
        def look(place: str):
            yield good(place) if place == "a" else will_not_work(place, "start it")
            return place == "a"

        self.assertEqual(list(check_alternatives(["b", "a"], look)), [good("a"), worth_a_look("b", "start it")])
        self.assertEqual(verdicts(list(check_alternatives(["b", "c"], look))), [BAD, BAD])


class OpenFilesTests(TestCase):
    def test_limits(self) -> None:
        for max_connections, limits, verdict, said in (
            (0, (RLIM_INFINITY, RLIM_INFINITY), GOOD, "no limit"),
            (0, (1024, RLIM_INFINITY), GOOD, "no limit"),
            (0, (1024, 65536), GOOD, "room for about 61240 vehicles"),
            (0, (1024, 1024), LOOK, "room for about 618 vehicles"),
            (5000, (1024, 65536), GOOD, "max_connections is 5000"),
            (5000, (1024, 4096), BAD, "ulimit -n 6867 as root"),
            (5000, (4096, 4096), BAD, "LimitNOFILE=6867"),
        ):
            with self.subTest(limits=limits, max_connections=max_connections):
                (finding,) = open_file_findings(Limits(max_connections=max_connections), limits)
                self.assertEqual(finding.verdict, verdict)
                self.assertIn(said, f"{finding.what} {finding.fix}")

    def test_memory(self) -> None:
        config = {
            "port": 4443,
            "records": {"V": ["logger", "sqlite"]},
            "tls": {"ca_file": "a", "server_cert": "b", "server_key": "c"},
        }
        for delivery, limit_mib, said in (
            ({"memory_mib": 600}, 1024, None),
            ({"memory_mib": 800}, 1024, "800 MiB together (delivery.memory_mib) of the 1024 MiB"),
            ({"memory_mib": 500}, 1024, "512 MiB of queue_bytes"),
            ({"memory_mib": 500, "queue_bytes": 1 << 20}, None, None),
        ):
            with self.subTest(delivery, limit_mib=limit_mib):
                made = msgspec.convert(config | {"delivery": delivery}, Config, dec_hook=lambda _, value: Path(value))
                findings = [*memory_findings(made, limit_mib and limit_mib << 20)]
                self.assertEqual(verdicts(findings), [LOOK] if said else [])
                self.assertIn(said or "", "".join(finding.what for finding in findings))


class HostTestCase(FolderTestCase):
    def setUp(self) -> None:
        super().setUp()
        certificates = CertificateFolder(self.folder)
        certificates.ensure_authority()
        certificates.ensure_server()

    def loaded(self, **other: object):
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
        config = {"host": "127.0.0.1", "port": free_port(), "namespace": "fleet", "tls": tls, "records": {"V": ["memory"]}}
        return parse_config(json.dumps(config | other), {}, self.folder)


class StatusPage(BaseHTTPRequestHandler):
    said = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.said)

    def log_message(self, *args: object) -> None:
        pass


class HostTests(HostTestCase):
    def test_free_ports(self) -> None:
        config = self.loaded(status_port=free_port()).config
        self.assertEqual(verdicts(list(port_findings(config))), [GOOD, GOOD])

    def test_taken_port(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            (finding,) = port_findings(self.loaded(port=port).config)
        self.assertEqual(finding.verdict, BAD)
        self.assertIn(f"port 127.0.0.1:{port} is taken", finding.what)
        self.assertIn(f"sport = :{port}", finding.fix)

    def test_ports_of_a_gateway_that_runs(self) -> None:
        status = HTTPServer(("127.0.0.1", 0), StatusPage)
        self.addCleanup(status.server_close)
        Thread(target=status.serve_forever, daemon=True).start()
        self.addCleanup(status.shutdown)
        for said, verdict in ((b"ok", GOOD), (b"welcome to my page", BAD)):
            StatusPage.said = said
            with socket.create_server(("127.0.0.1", 0)) as door:
                config = self.loaded(port=door.getsockname()[1], status_port=status.server_port).config
                self.assertEqual(verdicts(list(port_findings(config))), [verdict, verdict], said)

    def test_address_of_another_machine(self) -> None:
        (finding,) = port_findings(self.loaded(host="192.0.2.1").config)
        self.assertEqual((finding.verdict, finding.fix), (BAD, "name an address of this machine"))

    def test_clock(self) -> None:
        config = self.loaded().config
        self.assertEqual(verdicts(list(clock_findings(config))), [GOOD])
        (finding,) = clock_findings(config, datetime(2020, 1, 1, tzinfo=UTC))
        self.assertEqual(finding.verdict, BAD)
        self.assertIn("2020-01-01 00:00:00 UTC, but a certificate was made on", finding.what)

    def test_all_of_it(self) -> None:
        reactor = ThreadlessReactor()
        loaded = self.loaded(reliable_ack=True)
        self.assertEqual(len(loaded.warnings), 1)
        subjects = {}
        for check in host_checks(loaded, reactor):
            check.look._make_worker = AtOnce
            answer = check.look.diagnose()
            reactor.advance(0)
            subjects[check.subject] = self.successResultOf(answer)
        self.assertEqual(verdicts(subjects["configuration"]), [GOOD, LOOK])
        self.assertIn("reliable_ack", subjects["configuration"][1].what)
        self.assertEqual(verdicts(subjects["server certificate"]), [GOOD] * 3)
        self.assertEqual(len(subjects), 6)

    def test_authorities_that_let_no_vehicle_in(self) -> None:
        """Where the authorities are looked at, and nowhere else."""
        reactor = ThreadlessReactor()
        own = self.folder / "own.crt"
        own.write_bytes(make_authority(datetime.now(UTC), 10, "My CA").certificate_pem())
        loaded = self.loaded(tls={"ca_file": str(own), "server_cert": "server.crt", "server_key": "server.key"})
        found = {}
        for check in host_checks(loaded, reactor):
            if check.subject in ("configuration", "vehicles' authorities"):
                check.look._make_worker = AtOnce
                answer = check.look.diagnose()
                reactor.advance(0)
                found[check.subject] = self.successResultOf(answer)
        self.assertEqual(verdicts(found["configuration"]), [GOOD])
        self.assertEqual(verdicts(found["vehicles' authorities"]), [GOOD, LOOK])
        self.assertIn("fetch-ca", found["vehicles' authorities"][1].fix)


class WithoutSecretsTests(TestCase):
    def test_known_ones_and_those_in_urls(self) -> None:
        finding = will_not_work("cannot reach tcp://user:hunter2@host:1 as open-sesame", "not open-sesame?")
        (diagnosis,) = without_secrets([Diagnosis("sink x", [finding])], {"open-sesame"})
        self.assertEqual(
            diagnosis,
            Diagnosis("sink x", [will_not_work("cannot reach tcp://user:********@host:1 as ********", "not ********?")]),
        )


class SinkChecksTests(HostTestCase):
    def checks(self, **other: object) -> dict[str, IDiagnosable]:
        reactor = MemoryReactorClock()  # makes connections, if anybody asked for them
        checks = {check.subject: check.look for check in sink_checks(self.loaded(**other).config, reactor)}
        self.assertEqual(reactor.tcpClients, [])
        return checks

    def test_every_routed_sink_once(self) -> None:
        checks = self.checks(records={"V": ["logger", "memory"], "alerts": ["memory", "sqlite"]})
        self.assertEqual(list(checks), ["sink logger", "sink memory", "sink sqlite"])
        self.assertIsInstance(checks["sink memory"], Trial)
        self.assertIsInstance(checks["sink sqlite"], BlockingProbe)

    def test_every_sink_with_a_destination_has_a_probe(self) -> None:
        without = {name for name, sink in built_in_sinks().items() if sink.make_probe is None}
        self.assertEqual(without, {"embedded", "logger", "memory"})

    def test_probes_can_be_made(self) -> None:
        sections = {
            "kafka": {"bootstrap.servers": "127.0.0.1:1"},
            "mqtt": {"broker": "127.0.0.1:1", "topic_base": "t"},
            "redis": {"addrs": ["127.0.0.1:1"], "publish_vin_topics": True},
            "zmq": {"addr": "tcp://127.0.0.1:5284"},
        }
        for name in ("kafka", "mqtt", "redis", "zmq"):
            checks = self.checks(records={"V": [name]}, **{name: sections[name]})
            self.assertIsInstance(checks[f"sink {name}"], BlockingProbe, name)

    def test_third_party_that_cannot_be_imported(self) -> None:
        """It is refused with the configuration, before anything is looked at."""
        with self.assertRaises(ConfigurationError) as caught:
            self.loaded(records={"V": ["mine"]}, dispatchers={"mine": {"class": "no_such_module:SINK"}})
        (problem,) = caught.exception.problems
        self.assertIn("dispatchers.mine.class: no_such_module:SINK cannot be imported", str(problem))


class ReportTests(SynchronousTestCase):
    diagnoses = (
        Diagnosis("certificate", (good("valid"),)),
        Diagnosis("sink redis", (worth_a_look("slow", "wait"), will_not_work("says [red]\x1b[31m", "mend it"))),
    )

    def printed(self, diagnoses: Sequence[Diagnosis], **console: object) -> str:
        out = io.StringIO()
        print_table(diagnoses, Console(file=out, width=100, **console))
        return out.getvalue()

    def test_table(self) -> None:
        lines = [" ".join(line.split()) for line in self.printed(self.diagnoses).splitlines()]
        self.assertIn("certificate ok valid", lines)
        self.assertIn("sink redis warning slow", lines)
        self.assertIn("problem says [red]\ufffd[31m", lines)
        self.assertIn("-> mend it", lines)
        self.assertEqual(lines[-1], "1 problem, 1 warning: something will not work.")
        self.assertIn("Everything looks as it should.", self.printed(self.diagnoses[:1]))

    def test_colour_on_a_terminal_only(self) -> None:
        self.assertNotIn("\x1b", self.printed(self.diagnoses))
        self.assertIn("\x1b", self.printed(self.diagnoses, force_terminal=True, color_system="standard", _environ={}))

    def test_json(self) -> None:
        report = json.loads(as_json("config.json", self.diagnoses))
        self.assertEqual(report["works"], False)
        self.assertEqual([check["works"] for check in report["checks"]], [True, False])
        self.assertEqual(report["checks"][1]["findings"][0], {"verdict": "warning", "what": "slow", "fix": "wait"})


class KafkaTopicsTests(SynchronousTestCase):
    def test_without_confluent_kafka(self) -> None:
        """Who uses kafka-python is told what was not looked at."""
        from fleetgw.adapters.sinks.kafka import probe

        with (
            socket.create_server(("127.0.0.1", 0)) as broker,
            patch.dict("sys.modules", {"confluent_kafka": None, "confluent_kafka.admin": None}),
        ):
            settings = {"bootstrap.servers": f"127.0.0.1:{broker.getsockname()[1]}"}
            findings = list(probe.look(SimpleNamespace(name="kafka", settings=settings, log=None)))
        self.assertEqual(verdicts(findings), [GOOD, LOOK])
        self.assertIn("pip install 'fleetgw[kafka]'", findings[1].fix)

    def test_missing_topic(self) -> None:
        """Whether it is a problem depends on whether the broker makes topics."""
        from fleetgw.adapters.sinks.kafka import probe

        partitions = {0: SimpleNamespace(leader=1), 1: SimpleNamespace(leader=-1)}
        topics = {
            "fleet_V": SimpleNamespace(error=None, partitions=partitions),
            "fleet_errors": SimpleNamespace(error="Topic authorization failed", partitions={}),
        }
        metadata = SimpleNamespace(topics=topics, brokers={1: SimpleNamespace(host="kafka", port=9092)})
        context = SimpleNamespace(record_types=("V", "alerts", "errors"), destination=lambda kind: f"fleet_{kind}")
        for creates, verdict in ((True, LOOK), (False, BAD), (None, BAD)):
            leaderless, missing, refused = probe._topics(context, metadata, creates=creates)
            self.assertEqual((leaderless.verdict, missing.verdict, refused.verdict), (BAD, verdict, BAD))
            self.assertIn("1 of them without a leader", leaderless.what)
            self.assertIn("--bootstrap-server kafka:9092 --create --topic fleet_alerts", missing.fix)
            self.assertIn("Topic authorization failed", refused.what)
