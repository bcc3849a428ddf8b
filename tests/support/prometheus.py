"""A Prometheus server as a process, and the dashboards of Grafana as expressions."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType
    from typing import Self

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"

_VARIABLES = {"$__rate_interval": "30s", "$instance": ".*"}
_NOT_METRICS = re.compile(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)')
_METRIC = re.compile(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "by", "on", "bool"})


def missing() -> str | None:
    """The programs that this machine lacks, as text; None when they are there."""
    if which("prometheus") and which("promtool"):
        return None
    return "prometheus or promtool not found: install them (Debian: RUNLEVEL=1 apt-get install prometheus)"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool; its output is one text."""
    command = ["promtool", *map(str, arguments)]
    return subprocess.run(  # noqa: S603  the arguments are ours
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=DEADLINE_S
    )


def dashboard_expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The title and the expression of each target of a dashboard, as Prometheus gets it."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for variable, value in _VARIABLES.items():
                expression = expression.replace(variable, value)
            yield panel["title"], expression


def metric_names(expression: str) -> set[str]:
    """The names of the series in an expression."""
    return {name for name in _METRIC.findall(_NOT_METRICS.sub(" ", expression)) if name not in _WORDS}


class PrometheusProcess:
    """Prometheus with the files of ``deploy/prometheus``, for use in a ``with`` statement; killed at the end.

    It scrapes once a second.

    :param folder: for its data.
    :param target: ``host:port`` of the gateway's metrics.
    """

    def __init__(self, folder: Path, target: str) -> None:
        files = DEPLOY / "prometheus"
        text = (files / "prometheus.yml").read_text().replace("127.0.0.1:9273", target).replace("15s", "1s")
        text = text.replace("- fleetgw-alerts.yml", f"- {files / 'fleetgw-alerts.yml'}")
        config = folder / "prometheus.yml"
        config.write_text(text)
        self._address = f"127.0.0.1:{free_port()}"
        self._log_file = folder / "prometheus.log"
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                [*command, f"--web.listen-address={self._address}"], stdout=log, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()

    def get(self, path: str, **query: str) -> Any:  # JSON
        """The data of an answer of its API.

        :raises AssertionError: it does not answer, or with an error.
        """
        url = f"http://{self._address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                with urllib.request.urlopen(url, timeout=DEADLINE_S) as response:
                    return json.load(response)["data"]
            except urllib.error.HTTPError as error:
                answer = error.read().decode()
                if error.code != 503:  # it starts
                    raise AssertionError(f"{query}: {answer}") from error
            except OSError as error:
                answer = str(error)
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"Prometheus does not answer: {answer}\n{self._log_file.read_text()}")
            time.sleep(0.1)

    def wait_until_scraped(self) -> None:
        """Wait until a scrape has succeeded.

        :raises AssertionError: none has; with the error of the last one.
        """
        deadline = time.monotonic() + DEADLINE_S
        while True:
            targets = self.get("targets")["activeTargets"]
            if any(target["health"] == "up" for target in targets):
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"no scrape succeeds: {targets}")
            time.sleep(0.1)

    def _has_data(self, expression: str) -> bool:
        result = self.get("query", query=expression)["result"]
        return any(series["value"][1] != "NaN" for series in result)

    def without_data(self, expressions: Sequence[str]) -> set[str]:
        """Those expressions that have no number, as soon as all have one, or after a while."""
        deadline = time.monotonic() + DEADLINE_S
        lacking = set(expressions)
        while lacking and time.monotonic() < deadline:
            time.sleep(0.2)
            lacking = {expression for expression in lacking if not self._has_data(expression)}
        return lacking
