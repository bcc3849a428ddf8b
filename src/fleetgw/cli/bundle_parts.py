"""The parts of a bundle, each collected on its own: one that fails leaves the others alone."""

from __future__ import annotations

import json
import platform
import re
import ssl
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.cli.bundle_file import Document, pretty, without_records
from fleetgw.cli.gateway_client import TIMEOUT_S, GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fleetgw.cli.gateway_client import GatewayClient

PROFILE_S = 10
METRICS_APART_S = 5.0
LOG_LINES = 2000
DOCTOR_TIMEOUT_S = 180.0
TRACE_LINES = 5000
TRACE_BYTES = 4 * 2**20
"""Size of the part of a trace from which on no more is asked for."""


class PartError(Exception):
    """A part cannot be had; ``str()`` is the reason in one line."""


@frozen
class Part:
    """A part of the bundle.

    :ivar name: of its file, or of the first of them.
    :ivar doing: the work in a few words, for people who wait.
    :ivar collect: gives the documents. Raises ``GatewayError`` or ``PartError``; the documents given so far stay.
    """

    name: str
    doing: str
    collect: Callable[[], Iterator[Document]]


def parts_of(client: GatewayClient | None, config: Path | None, *, with_records: bool) -> Sequence[Part]:
    """The parts of a bundle, in the order in which they are collected.

    :param client: of the gateway; None where there is none to ask.
    :param config: the configuration's file, where it is known: the doctor needs it.
    :param with_records: whether records that the sink ``logger`` has written into the log stay in it.
    """
    local = [
        Part("versions.txt", "looking up versions", _versions),
        Part("doctor.json", "asking the doctor", lambda: _doctor(config)),
    ]
    return local if client is None else [*local, *_Asked(client, with_records=with_records).parts()]


def _versions() -> Iterator[Document]:
    from fleetgw.adapters.ingress.hot_path import DESCRIPTION

    lines = [
        f"fleetgw {version('fleetgw')} (this command), hot path in {DESCRIPTION}",
        f"Python {sys.version}",
        f"platform {platform.platform()}",
        ssl.OPENSSL_VERSION,
    ]
    names = {re.split(r"[^\w.-]", each, maxsplit=1)[0] for each in requires("fleetgw") or ()}
    for name in sorted(names, key=str.lower):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name}: not installed")
    yield Document("versions.txt", "versions on the machine of this command", "\n".join([*lines, ""]))


def _doctor(config: Path | None) -> Iterator[Document]:
    """The doctor's report, by a process of its own: it runs a reactor."""
    if config is None:
        raise PartError("the doctor needs the configuration; name it by --config on the gateway's own machine")
    code = "import sys; from fleetgw.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "doctor", "--json", "--config", str(config)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=DOCTOR_TIMEOUT_S, check=False)  # noqa: S603  our own command
    except subprocess.TimeoutExpired:
        raise PartError(f"the doctor has not ended after {DOCTOR_TIMEOUT_S:g} s") from None
    if not done.stdout:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise PartError(f"the doctor has ended with status {done.returncode}: {last}")
    yield Document("doctor.json", "report of fleetgw doctor", done.stdout.decode("utf-8", "replace"))


class _Asked:
    """The parts that the gateway gives."""

    def __init__(self, client: GatewayClient, *, with_records: bool) -> None:
        self._client = client
        self._with_records = with_records
        self._first_metrics_s = 0.0

    def parts(self) -> Sequence[Part]:
        """All of them. The profile lies between the two looks at the metrics."""
        return [
            self._json("overview.json", "/api/overview", "vehicles, rates, sinks, refusals, certificates"),
            self._json("health.json", "/health?verbose", "state of each part, with reasons"),
            self._json("configuration.json", "/api/config", "the configuration in effect, secrets masked"),
            self._json("refusals.json", "/api/refusals", "recent refusals with reasons"),
            Part("metrics-1.txt", "reading the metrics", self._metrics),
            Part("profile.txt", f"profiling the gateway for {PROFILE_S} s", self._profile),
            Part("metrics-2.txt", "reading the metrics again", self._later_metrics),
            Part("log.txt", f"reading the last {LOG_LINES} log lines", self._log),
            Part("traces.json", "reading the traces", self._traces),
        ]

    def _json(self, name: str, path: str, about: str) -> Part:
        def collect() -> Iterator[Document]:
            yield Document(name, about, pretty(self._client.get_json(path)))

        return Part(name, f"asking for {path}", collect)

    def _metrics(self) -> Iterator[Document]:
        self._first_metrics_s = time.monotonic()
        yield Document("metrics-1.txt", "metrics", self._client.get_text("/api/metrics"))

    def _later_metrics(self) -> Iterator[Document]:
        from fleetgw.adapters.metrics.ledger import ledger_of_page
        from fleetgw.cli.ledger_output import as_json
        from fleetgw.domain.ledger import NoLedger, imbalances

        time.sleep(max(0.0, METRICS_APART_S - (time.monotonic() - self._first_metrics_s)))
        page = self._client.get_text("/api/metrics")
        yield Document("metrics-2.txt", f"metrics, {time.monotonic() - self._first_metrics_s:.0f} s later", page)
        try:
            ledger = ledger_of_page(page)
        except (NoLedger, ValueError) as error:
            raise PartError(f"the metrics have no ledger: {error}") from error
        yield Document(
            "ledger.json", "where every record is", as_json(self._client.url, ledger, imbalances(ledger), 2) + "\n"
        )

    def _profile(self) -> Iterator[Document]:
        text = self._client.get_text("/api/profile", {"seconds": PROFILE_S}, timeout_s=PROFILE_S + TIMEOUT_S)
        yield Document("profile.txt", f"CPU profile of {PROFILE_S} s: stacks with microseconds, for speedscope", text)

    def _log(self) -> Iterator[Document]:
        text = self._client.get_text("/api/log", {"lines": LOG_LINES})
        yield Document("log.txt", f"the last {LOG_LINES} log lines", text if self._with_records else without_records(text))

    def _traces(self) -> Iterator[Document]:
        answer = self._client.get_json("/api/traces")
        yield Document("traces.json", "the traces that the gateway keeps", pretty(answer))
        match answer:
            case {"traces": [*traces]}:
                pass
            case _:
                raise GatewayError("the list of traces is of a form that this command does not know")
        for each in traces:
            match each:
                case {"id": int(number), "next_line": int(next_line)}:
                    first = max(1, next_line - TRACE_LINES)
                    yield Document(f"traces/{number}.jsonl", f"the last {TRACE_LINES} stages", self._trace(number, first))

    def _trace(self, number: int, first: int) -> str:
        """The lines of a trace from one on, as far as there is room."""
        text = ""
        while len(text) < TRACE_BYTES and (more := self._client.get_text(f"/api/traces/{number}", {"from": first})):
            text += more
            try:
                first = json.loads(more.splitlines()[-1])["n"] + 1
            except (ValueError, TypeError, KeyError, RecursionError):
                break
        return text
