"""The files of ``deploy`` in a real Prometheus, beside a real gateway with a simulated fleet: ``make test-monitoring``."""

import json
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from unittest import TestCase

from websockets.exceptions import InvalidStatus

from fleetgw.adapters.codec import envelope
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.free_ports import free_port, free_ports
from tests.support.gateway_process import BIN, GatewayProcess
from tests.support.needed import needed
from tests.support.prometheus import DEPLOY, PrometheusProcess, dashboard_expressions, metric_names, missing, promtool
from tests.support.sending_vehicle import SendingVehicle

DASHBOARDS = (DEPLOY / "grafana" / "fleetgw.json", Path(__file__).with_name("go_server_dashboard.json"))
NO_BROKER = "127.0.0.1:1"
AWS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "eu-west-1"}
SINKS = ("kafka", "kinesis", "mqtt", "pubsub", "redis", "zmq")
RATE_LIMIT = 100


class PromtoolTests(TestCase):
    def setUp(self) -> None:
        needed(missing())

    def assertPasses(self, *arguments: str | Path) -> None:
        checked = promtool(*arguments)
        self.assertEqual(checked.returncode, 0, checked.stdout)

    def test_configuration(self) -> None:
        self.assertPasses("check", "config", DEPLOY / "prometheus" / "prometheus.yml")

    def test_rules(self) -> None:
        self.assertPasses("check", "rules", "--lint=all", "--lint-fatal", DEPLOY / "prometheus" / "fleetgw-alerts.yml")

    def test_alerts_fire_when_they_should_and_not_otherwise(self) -> None:
        self.assertPasses("test", "rules", DEPLOY / "prometheus" / "fleetgw-alerts.test.yml")


class PrometheusTests(TestCase):
    def setUp(self) -> None:
        needed(missing())
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def gateway(self, metrics_port: int, status_port: int) -> GatewayProcess:
        """A gateway with every sink that the Go server has; all but Kafka and ZeroMQ lack their broker."""
        certs = CertificateFolder(self.folder / "certs", 30)
        certs.ensure_all()
        certs.ensure_vehicles(10)  # as many as fleetgw simulate has
        vins = [file.stem for file in certs.vehicle_files()]
        allowed = self.folder / "vins.txt"
        allowed.write_text("\n".join(vins))
        return GatewayProcess(
            self.folder,
            {
                "PUBSUB_EMULATOR_HOST": NO_BROKER,
                "AWS_ACCESS_KEY_ID": "x",
                "AWS_SECRET_ACCESS_KEY": "x",
                "AWS_REGION": "eu-west-1",
            },
            records={"V": ["kafka"], "alerts": ["logger"]} | {f"to_{sink}": [sink] for sink in SINKS},
            reliable_ack_sources={"V": "kafka"} | {f"to_{sink}": sink for sink in SINKS},
            ack_policies={"alerts": "spooled"},
            spool={"path": str(self.folder / "spool")},
            kafka={"bootstrap.servers": "localhost:1", "test.mock.num.brokers": "1"},
            kinesis={"override_host": f"http://{NO_BROKER}"},
            mqtt={"broker": NO_BROKER, "client_id": "x", "topic_base": "x"},
            pubsub={"gcp_project_id": "x"},
            redis={"addrs": [NO_BROKER], "publish_vin_topics": True},
            zmq={"addr": f"tcp://127.0.0.1:{free_port()}"},
            status_port=status_port,
            monitoring={"prometheus_metrics_port": metrics_port},
            vins_signal_tracking_enabled=vins[:1],
            rate_limit={"enabled": True, "message_limit": RATE_LIMIT, "message_interval_time": 1},
            limits={"max_connections_per_vehicle": 1},
            vehicles={"allow": {"file": str(allowed)}},
        )

    def misbehave(self, port: int, status_port: int) -> None:
        """Cause what is counted only once it happens."""
        request = urllib.request.Request(f"http://127.0.0.1:{status_port}/api/metrics", headers={"Host": "example.com"})
        with self.assertRaisesRegex(urllib.error.HTTPError, "403") as refused:
            urllib.request.urlopen(request)
        refused.exception.close()
        with socket.create_connection(("127.0.0.1", port)) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            stranger.recv(1)
        with SendingVehicle(self.folder, port) as vehicle:
            with self.assertRaises(InvalidStatus), SendingVehicle(self.folder, port):
                pass
            vehicle.send_raw(b"no envelope")
            vehicle.send(["unrouted"], "unrouted")
            vehicle.send_raw(envelope.ack("V", b"a vehicle sends no acks"))
            vehicle.send([str(number) for number in range(2 * RATE_LIMIT)], "to_zmq")

    def test_every_expression_has_data_while_a_fleet_drives(self) -> None:
        metrics_port, status_port = free_ports(2)
        expressions = [
            (file.name, *each) for file in DASHBOARDS for each in dashboard_expressions(json.loads(file.read_text()))
        ]
        with (
            self.gateway(metrics_port, status_port) as gateway,
            PrometheusProcess(self.folder, f"127.0.0.1:{metrics_port}") as prometheus,
        ):
            port = gateway.port
            prometheus.wait_until_scraped()  # so that it sees every counter begin at 0
            self.misbehave(port, status_port)
            arguments = [
                "--url",
                f"wss://localhost:{port}",
                "--certs",
                "certs",
                "--rate",
                "50",
                "--types",
                "V=9,alerts",
            ]
            command = [BIN / "fleetgw", "simulate", *arguments]
            fleet = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.addCleanup(fleet.communicate)
            self.addCleanup(fleet.kill)
            (group,) = prometheus.get("rules")["groups"]
            names = set().union(*(metric_names(rule["query"]) for rule in group["rules"]))
            self.assertGreater(len(names), 20)
            asked = [*(expression for _, _, expression in expressions), *names]
            lacking = prometheus.without_data(asked)
            without_data = [" ".join(each) for each in expressions if each[-1] in lacking] + sorted(names & lacking)
            self.assertEqual("\n".join(without_data), "")
            (group,) = prometheus.get("rules")["groups"]
            self.assertEqual({(rule["health"], rule.get("lastError")) for rule in group["rules"]}, {("ok", None)})
            self.assertEqual([rule["name"] for rule in group["rules"] if rule["state"] == "firing"], [])
