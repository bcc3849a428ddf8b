"""Google's Pub/Sub emulator: a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

START_TIMEOUT_S = 60.0


def _jar() -> Path | None:
    """The Google Cloud SDK brings it, as its component ``pubsub-emulator``."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    root = Path(gcloud).resolve().parents[1]
    return next(iter(sorted((root / "platform" / "pubsub-emulator" / "lib").glob("cloud-pubsub-emulator-*.jar"))), None)


def missing() -> str | None:
    """What the emulator lacks to be started here, for people; None when nothing is missing."""
    if shutil.which("java") is None:
        return "java not found: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if _jar() is None:
        return "Pub/Sub emulator not found: install Google's packages google-cloud-cli and google-cloud-cli-pubsub-emulator"
    return None


class Emulator:
    """Started when made; it keeps its port over ``kill`` and ``start``, and forgets everything else.

    :ivar host: ``host:port`` for ``PUBSUB_EMULATOR_HOST``.
    """

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self._port: int = listener.getsockname()[1]
        self.host = f"127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it listens."""
        if self._process is not None:
            return
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                [  # noqa: S607 java is found as users find it
                    "java",
                    "-XX:TieredStopAtLevel=1",
                    "-jar",
                    str(_jar()),
                    "--host=127.0.0.1",
                    f"--port={self._port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=Path(tempfile.gettempdir()),
            )
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while not self._listens():
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    self.kill()
                    output.seek(0)
                    raise RuntimeError(f"the Pub/Sub emulator did not start:\n{output.read().decode(errors='replace')}")
                time.sleep(0.02)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self._port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
