"""The dashboards and alert rules of ``deploy``, as files. ``make test-monitoring`` has a real Prometheus load them."""

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any
from unittest import TestCase

from tests.support.prometheus import DEPLOY, dashboard_expressions, metric_names
from tests.test_documentation import metric_names as metrics_of_the_source

ALERTS = (DEPLOY / "prometheus" / "fleetgw-alerts.yml").read_text()
ALERT_TESTS = (DEPLOY / "prometheus" / "fleetgw-alerts.test.yml").read_text()
DASHBOARD = json.loads((DEPLOY / "grafana" / "fleetgw.json").read_text())
GO_DASHBOARD = json.loads((Path(__file__).parent / "prometheus" / "go_server_dashboard.json").read_text())
OF_PROMETHEUS = {"up", "process_cpu_seconds_total"}


def alerts() -> dict[str, str]:
    """The text of each alert, by name."""
    _, *rules = re.split(r"^      - alert: ", ALERTS, flags=re.MULTILINE)
    return {rule.partition("\n")[0]: rule for rule in rules}


def base_name(name: str) -> str:
    """The metric of a series: that of a histogram has a suffix."""
    return re.sub(r"_(bucket|sum|count)$", "", name) if name != "signal_count" else name


class AlertTests(TestCase):
    def test_every_alert_says_how_severe_it_is_and_where_its_run_book_is(self) -> None:
        self.assertGreater(len(alerts()), 12)
        for name, rule in alerts().items():
            with self.subTest(alert=name):
                self.assertRegex(rule, r"labels: \{severity: (critical|warning)\}")
                self.assertIn(f"runbook_url: docs/run-books.md#{name.lower()}\n", rule + "\n")
                (summary,) = re.findall(r"^ +summary: (.*?)^ +runbook_url", rule, re.MULTILINE | re.DOTALL)
                self.assertIn("$labels.instance", summary)

    def test_every_alert_has_a_test_of_its_own(self) -> None:
        self.assertEqual(re.findall(r"^  - name: (\w+)$", ALERT_TESTS, re.MULTILINE), list(alerts()))
        tested = re.findall(r"^ +alertname: (\w+)$", ALERT_TESTS, re.MULTILINE)
        self.assertEqual(list(dict.fromkeys(tested)), list(alerts()))


class DashboardTests(TestCase):
    def panels(self, dashboard: dict[str, Any]) -> list[dict[str, Any]]:
        """All panels but the titles of rows."""
        return [panel for panel in dashboard["panels"] if panel["type"] != "row"]

    def test_every_panel_is_explained_and_has_a_unit(self) -> None:
        for panel in self.panels(DASHBOARD):
            with self.subTest(panel=panel["title"]):
                self.assertRegex(panel["description"], r"\.$")
                self.assertTrue(panel["fieldConfig"]["defaults"]["unit"])
                self.assertTrue(panel["targets"])

    def test_every_query_uses_the_chosen_prometheus_and_gateways(self) -> None:
        names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
        self.assertEqual(names, ["datasource", "instance"])
        for panel in self.panels(DASHBOARD):
            for target in panel["targets"]:
                with self.subTest(panel=panel["title"]):
                    self.assertEqual(target["datasource"], {"type": "prometheus", "uid": "${datasource}"})
                    self.assertIn('instance=~"$instance"', target["expr"])

    def test_panels_fill_the_grid_without_overlap(self) -> None:
        for dashboard in (DASHBOARD, GO_DASHBOARD):
            panels = dashboard["panels"]
            ids = [panel["id"] for panel in panels]
            self.assertEqual(len(ids), len(set(ids)))
            for panel in panels:
                self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24)
            for one, other in combinations([panel["gridPos"] for panel in panels], 2):
                apart_x = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
                apart_y = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
                self.assertTrue(apart_x or apart_y, (one, other))

    def test_dashboard_and_alerts_name_metrics_that_there_are(self) -> None:
        expressions = [expression for _, expression in dashboard_expressions(DASHBOARD)]
        expressions += re.findall(r"^ +expr: (?:\|\n)?(.*?)^ +(?:for|labels):", ALERTS, re.MULTILINE | re.DOTALL)
        named = {base_name(name) for expression in expressions for name in metric_names(expression)}
        self.assertGreater(len(named), 40)
        self.assertEqual(named - metrics_of_the_source() - OF_PROMETHEUS, set())

    def test_the_dashboard_of_the_go_server_names_every_metric_that_it_has(self) -> None:
        vectors = json.loads((Path(__file__).parent / "vectors" / "metrics.json").read_text())
        named = {name for _, expression in dashboard_expressions(GO_DASHBOARD) for name in metric_names(expression)}
        self.assertEqual(named, {case["name"] for case in vectors["cases"]})
