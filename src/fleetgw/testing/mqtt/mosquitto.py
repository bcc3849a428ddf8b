"""A real mosquitto: a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT_S = 10.0

_CONFIGURATION = """\
listener {port} 127.0.0.1
persistence true
persistence_location {folder}/
max_queued_messages 0
max_inflight_messages 1000
"""


def missing() -> str | None:
    """What a broker lacks to be started here, for people; None when nothing is missing."""
    if _program("mosquitto") is None:
        return "mosquitto not found: install it (Debian: apt-get install mosquitto)"
    return None


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Mosquitto:
    """Started when made; it keeps its port, and what it wrote, over ``kill`` and ``start``.

    :param more: further lines of its configuration; ``{folder}`` is its folder.
    :param files: text of files in that folder, by name.
    :ivar port: on 127.0.0.1.
    """

    def __init__(self, more: str = "allow_anonymous true", files: dict[str, bytes] | None = None) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="fleetgw-mosquitto-"))
        self.folder.chmod(0o755)  # started by root, it works as a user of its own
        for name, content in (files or {}).items():
            (self.folder / name).write_bytes(content)
        self._configuration = self.folder / "mosquitto.conf"
        text = _CONFIGURATION.format(port=self.port, folder=self.folder) + more.format(folder=self.folder)
        self._configuration.write_text(f"{text}\nuser root\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        if self._process is not None:
            return
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                [_program("mosquitto") or "mosquitto", "-c", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                output_text = (self.folder / "output.txt").read_text(errors="replace")
                self.stop()
                raise RuntimeError(f"mosquitto did not start:\n{output_text}")
            time.sleep(0.01)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def end(self) -> None:
        """SIGTERM: it writes down the sessions and messages that it keeps."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def save(self) -> None:
        """SIGUSR1: it writes down the sessions that it keeps by now, so that they outlive ``kill``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it for good and remove what it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
