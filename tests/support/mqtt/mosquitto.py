"""A real mosquitto: a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
import signal

from tests.support.broker_process import BrokerProcess

_CONFIGURATION = """\
listener {port} 127.0.0.1
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 1000
"""


def missing() -> str | None:
    """Reason why no broker can be started here, for people; None when one can."""
    if _program("mosquitto") is None:
        return "mosquitto not found: install it (Debian: apt-get install mosquitto)"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


class Mosquitto(BrokerProcess):
    """Started by its constructor; it keeps its port and its log over ``kill`` and ``start``.

    :param more: further lines of its configuration; ``{folder}`` is its folder.
    :param files: text of files in that folder, by name.
    """

    def __init__(self, more: str = "allow_anonymous true", files: dict[str, bytes] | None = None) -> None:
        super().__init__()
        self.folder.chmod(0o755)  # started by root, it works as a user of its own
        for name, content in (files or {}).items():
            (self.folder / name).write_bytes(content)
        self._configuration = self.folder / "mosquitto.conf"
        text = _CONFIGURATION.format(port=self.port, folder=self.folder) + more.format(folder=self.folder)
        self._configuration.write_text(f"{text}\nuser root\n")
        self.start()

    def command(self) -> list[str]:
        """``mosquitto``, which Debian keeps from the path of users."""
        return [_program("mosquitto") or "mosquitto", "-c", str(self._configuration)]

    def end(self) -> None:
        """SIGTERM: it writes down the sessions and messages that it keeps."""
        self._end(signal.SIGTERM)

    def save(self) -> None:
        """SIGUSR1: it writes down the sessions that it keeps by now, so that they outlive ``kill``."""
        self._signal(signal.SIGUSR1)
