"""Destinations, read by a consumer of their own."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Protocol

from tests.support.deadline import DEADLINE_S
from tests.support.faults.records import Delivered
from tests.support.gateway_process import BIN
from tests.support.kafka.consumer import consume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.gateway_process import GatewayProcess
    from tests.support.kafka.broker import KafkaBroker


class Outlet(Protocol):
    """One destination."""

    def read(self) -> list[Delivered]:
        """All records that are there, copies included."""


class KafkaOutlet:
    """The topics of one namespace.

    :param record_types: those that are routed to it.
    """

    def __init__(self, broker: KafkaBroker, namespace: str, record_types: Sequence[str] = ("V",)) -> None:
        self._broker = broker
        self._topics = {f"{namespace}_{record_type}": record_type for record_type in record_types}

    def read(self) -> list[Delivered]:
        """See ``Outlet``."""
        return [
            Delivered(dict(one.headers)["txid"], one.key.decode(), self._topics[one.topic], one.value)
            for one in consume(self._broker.servers, list(self._topics), 0)
        ]


class SqliteOutlet:
    """The file of the sink ``sqlite``; records of custom types alone, which it stores as they are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Delivered]:
        """See ``Outlet``."""
        if not self._path.exists():
            return []
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT txid, vin, record_type, payload FROM custom_records").fetchall()
        return [Delivered(txid.encode(), vin, record_type, payload) for txid, vin, record_type, payload in rows]


def dead_letters(gateway: GatewayProcess) -> set[bytes]:
    """The txids of dead letters: those in the log with their payload, and those that ``fleetgw dead-letters`` lists."""
    lines = [entry for entry in gateway.events("dead_letter") if "payload_base64" in entry]
    in_log = {str(metadata["txid"]) for line in lines if isinstance(metadata := line["metadata"], dict)}
    config = gateway.folder / "config.json"
    if "dead_letters" not in json.loads(config.read_text()):
        return {txid.encode() for txid in in_log}
    command = [str(BIN / "fleetgw"), "dead-letters", "list", "--config", str(config), "--sink", "kafka", "--json"]
    listed = subprocess.run(command, capture_output=True, check=True, timeout=DEADLINE_S)  # noqa: S603  our own command
    return {txid.encode() for txid in in_log} | {letter["txid"].encode() for letter in json.loads(listed.stdout)}


def metric(page: str, name: str, **labels: str) -> float:
    """The sum of a metric's series that have these labels, in the text of ``/metrics``."""
    total = 0.0
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        if series.partition("{")[0] == name and all(f"{key}={json.dumps(each)}" in series for key, each in labels.items()):
            total += float(value)
    return total
