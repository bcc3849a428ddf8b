"""A real StatsD server on loopback: its numbers are asked for on its management port."""

from __future__ import annotations

import json
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.broker_process import BrokerProcess

if TYPE_CHECKING:
    from collections.abc import Mapping

STATSD = Path(__file__).resolve().parents[3] / ".brokers" / "statsd" / "node_modules" / "statsd"
NEVER_MS = 3_600_000


def missing() -> str | None:
    """Reason why no server can be started here, for people; None when one can."""
    if shutil.which("node") is None:
        return "node not found: install Node.js (Debian: apt-get install nodejs)"
    if not (STATSD / "stats.js").is_file():
        return "StatsD is not there: run tests/support/statsd/install_statsd.sh"
    return None


class StatsdServer(BrokerProcess):
    """Started when made. It never flushes, so that counters add up; UDP and management have the same port number."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        """``node stats.js``, with names left as they are sent: tags are in them."""
        own = {"address": "127.0.0.1", "port": self.port, "mgmt_address": "127.0.0.1", "mgmt_port": self.port}
        config = self.folder / "config.js"
        config.write_text(json.dumps({**own, "backends": [], "keyNameSanitize": False, "flushInterval": NEVER_MS}))
        return ["node", str(STATSD / "stats.js"), str(config)]

    def counters(self) -> Mapping[str, float]:
        """The counters so far."""
        return self._numbers("counters")

    def gauges(self) -> Mapping[str, float]:
        """The gauges as they stand."""
        return self._numbers("gauges")

    def _numbers(self, command: str) -> Mapping[str, float]:
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(f"{command}\n".encode())
            said = b""
            while b"END\n\n" not in said:
                said += connection.recv(65536)
        return {
            name or bare: float(number)
            for name, bare, number in re.findall(r"(?:'([^']+)'|(\w+)): (-?[\d.]+)", said.decode())
        }
