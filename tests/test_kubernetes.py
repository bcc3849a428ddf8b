"""The example for Kubernetes: its parts fit each other, the gateway's paths and ports, and the time that a drain takes."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest import TestCase, mock

import yaml

from fleetgw.adapters.monitoring.pages import Access
from fleetgw.app.config import parse_config
from fleetgw.app.operations.api import operator_routes
from fleetgw.app.service.life import STOP_MARGIN_S
from fleetgw.simulator.certificate_folder import CertificateFolder

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ROOT / "deploy" / "kubernetes" / "fleetgw.yaml"


class ManifestTests(TestCase):
    def setUp(self) -> None:
        objects = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}
        self.assertEqual({*objects}, {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"})
        self.objects: dict[str, Any] = objects
        self.pod = objects["Deployment"]["spec"]["template"]
        (self.container,) = self.pod["spec"]["containers"]
        self.settings = json.loads(objects["ConfigMap"]["data"]["config.json"])

    def probe(self, name: str) -> dict[str, Any]:
        probe: dict[str, Any] = self.container[f"{name}Probe"]
        return probe

    def test_the_configuration_works(self) -> None:
        mounts = [each["mountPath"] for each in self.container["volumeMounts"]]
        for file in self.settings["tls"].values():
            self.assertIn(str(Path(file).parent), mounts)
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        certificates = CertificateFolder(folder, 90)
        certificates.ensure_all()
        files = {"ca_file": certificates.authority_file, "server_cert": certificates.server_file}
        files["server_key"] = certificates.server_file.with_suffix(".key")
        tls = {key: str(file) for key, file in files.items()}
        loaded = parse_config(json.dumps(self.settings | {"tls": tls}), {}, folder)
        self.assertEqual([warning.path for warning in loaded.warnings], [])

    def test_the_command_is_that_of_the_page(self) -> None:
        command = f"CMD {json.dumps(self.container['command'])}"
        self.assertIn(command, (ROOT / "docs" / "operating.md").read_text())
        self.assertIn(
            str(Path(self.container["command"][-1]).parent),
            [each["mountPath"] for each in self.container["volumeMounts"] if each["name"] == "config"],
        )

    def test_ports(self) -> None:
        ports = {each["name"]: each["containerPort"] for each in self.container["ports"]}
        metrics_port = self.settings["monitoring"]["prometheus_metrics_port"]
        self.assertEqual(
            ports, {"vehicles": self.settings["port"], "status": self.settings["status_port"], "metrics": metrics_port}
        )
        (port,) = self.objects["Service"]["spec"]["ports"]
        self.assertEqual((port["port"], port["targetPort"]), (443, "vehicles"))
        self.assertEqual(self.pod["metadata"]["annotations"]["prometheus.io/port"], str(metrics_port))

    def test_every_probe_has_a_path_for_everyone(self) -> None:
        paths = {each.pattern for each in operator_routes(mock.Mock()) if each.access is Access.PROBE}
        asked = {name: self.probe(name)["httpGet"] for name in ("startup", "liveness", "readiness")}
        self.assertEqual({name: get["port"] for name, get in asked.items()}, dict.fromkeys(asked, "status"))
        self.assertLessEqual({get["path"] for get in asked.values()}, paths)
        self.assertEqual(
            {name: get["path"] for name, get in asked.items()},
            {"startup": "/live", "liveness": "/live", "readiness": "/ready"},
        )

    def test_the_balancer_has_noticed_before_vehicles_are_closed(self) -> None:
        readiness = self.probe("readiness")
        noticed_s = readiness["periodSeconds"] * readiness["failureThreshold"] + readiness["timeoutSeconds"]
        self.assertGreater(self.settings["drain"]["wait_s"], noticed_s)

    def test_a_pod_is_not_killed_before_its_drain_is_over(self) -> None:
        longest_s = self.settings["drain"]["wait_s"] + self.settings["delivery"]["drain_timeout_s"] + STOP_MARGIN_S
        self.assertGreater(self.pod["spec"]["terminationGracePeriodSeconds"], longest_s)
        self.assertNotIn("lifecycle", self.container, "the gateway drains by itself")

    def test_a_pod_that_starts_slowly_is_not_killed(self) -> None:
        startup, liveness = self.probe("startup"), self.probe("liveness")
        self.assertGreaterEqual(startup["periodSeconds"] * startup["failureThreshold"], 60)
        self.assertGreaterEqual(liveness["periodSeconds"] * liveness["failureThreshold"], 30)

    def test_selectors_and_the_number_of_pods(self) -> None:
        labels, deployment = self.pod["metadata"]["labels"], self.objects["Deployment"]["spec"]
        budget = self.objects["PodDisruptionBudget"]["spec"]
        selectors = (
            deployment["selector"]["matchLabels"],
            budget["selector"]["matchLabels"],
            self.objects["Service"]["spec"]["selector"],
        )
        self.assertEqual(selectors, (labels,) * 3)
        self.assertGreaterEqual(deployment["replicas"] - budget["maxUnavailable"], 2)
        self.assertEqual(deployment["strategy"]["rollingUpdate"]["maxUnavailable"], 0)

    def test_volumes_and_rights(self) -> None:
        volumes = {each["name"] for each in self.pod["spec"]["volumes"]}
        self.assertEqual(volumes, {each["name"] for each in self.container["volumeMounts"]})
        self.assertTrue(self.pod["spec"]["securityContext"]["runAsNonRoot"])
        rights = self.container["securityContext"]
        self.assertEqual(
            (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"], rights["capabilities"]),
            (True, False, {"drop": ["ALL"]}),
        )
