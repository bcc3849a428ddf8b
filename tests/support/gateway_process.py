"""The gateway as a process under twistd, for tests over real sockets."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

BIN = Path(sys.executable).parent

_ANNOUNCEMENT = """
import os
for number, descriptor in enumerate({descriptors}, 3):
    os.dup2(descriptor, number)
    os.close(descriptor)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len({descriptors})), LISTEN_FDNAMES="{names}")
"""


def run_twistd(*arguments: str, folder: Path, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run twistd until it ends.

    :param environ: further variables.
    :raises subprocess.TimeoutExpired: it does not end.
    """
    return subprocess.run(  # noqa: S603  our own command
        [BIN / "twistd", *arguments],
        cwd=folder,
        env=os.environ | (environ or {}),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def write_config(folder: Path, **changes: object) -> Path:
    """Write ``config.json`` with certificates beside it, made unless they are there; ``V`` goes to the logger by default."""
    certs = CertificateFolder(folder / "certs", 30)
    certs.ensure_all()
    config: dict[str, object] = {
        "host": "127.0.0.1",
        "port": 0,
        "json_log_enable": True,
        "tls": {
            "ca_file": str(certs.authority_file),
            "server_cert": str(certs.server_file),
            "server_key": str(certs.server_file.with_suffix(".key")),
        },
        "records": {"V": ["logger"]},
    }
    file = folder / "config.json"
    file.write_text(json.dumps(config | changes))
    return file


class GatewayProcess:
    """``twistd -n fleetgw``, for use in a ``with`` statement; killed at the end when it still runs.

    Its log is the file ``gateway.log``, so that no line waits for a reader.

    :ivar folder: where it runs.
    """

    def __init__(
        self,
        folder: Path,
        environ: Mapping[str, str] | None = None,
        *,
        prelude: str = "",
        options: Sequence[str] = ("--pidfile=",),
        wrapper: Sequence[str] = (),
        inherited: Mapping[str, socket.socket] | None = None,
        **changes: object,
    ) -> None:
        """Start with ``write_config(folder, **changes)``.

        :param environ: further variables.
        :param prelude: Python code that runs in the process before anything of Twisted is imported.
        :param options: twistd's, beside ``-n``.
        :param wrapper: a command that runs twistd.
        :param inherited: sockets that the process inherits, as systemd would hand them over, by name.
        """
        descriptors = [fcntl.fcntl(each, fcntl.F_DUPFD, 64) for each in (inherited or {}).values()]
        if inherited:
            prelude += _ANNOUNCEMENT.format(descriptors=descriptors, names=":".join(inherited))
        self.folder = folder
        self._log_file = folder / "gateway.log"
        self._error_file = folder / "gateway.stderr"
        self._read_bytes = 0
        self._entries: list[dict[str, object]] = []
        twistd = [str(BIN / "twistd")]
        if prelude:
            twistd = [sys.executable, "-c", f"{prelude}\nfrom twisted.scripts.twistd import run\nrun()"]
        command = [*wrapper, *twistd, "-n", *options, "fleetgw", "--config", str(write_config(folder, **changes))]
        with self._log_file.open("wb") as log, self._error_file.open("wb") as error:
            self._process = subprocess.Popen(  # noqa: S603  our own command
                command,
                cwd=folder,
                env=os.environ | (environ or {}),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=error,
                pass_fds=descriptors,
            )
        for descriptor in descriptors:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self.end_input()

    def events(self, name: str) -> list[dict[str, object]]:
        """The events of that name in the log so far, oldest first."""
        with self._log_file.open("rb") as log:
            log.seek(self._read_bytes)
            for line in log:
                if line.endswith(b"\n"):
                    self._read_bytes += len(line)
                    self._entries.append(json.loads(line))
        return [entry for entry in self._entries if entry["msg"] == name]

    def wait_for(self, name: str, count: int = 1) -> dict[str, object]:
        """Wait for the ``count``-th event of that name.

        :raises AssertionError: the process ends without it, or it does not come.
        """
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            events = self.events(name)
            if len(events) >= count:
                return events[count - 1]
            if ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"no {name} in the log:\n{self.output()}")

    @property
    def port(self) -> int:
        """The port for vehicles, once it listens."""
        port = self.wait_for("server_listening")["port"]
        assert isinstance(port, int)  # noqa: S101  the gateway's own number
        return port

    def wait_for_output(self, text: str, file: Path | None = None) -> None:
        """Wait until ``text`` is in its output, or in ``file``.

        :raises AssertionError: the process ends without it, or it does not come.
        """
        deadline = time.monotonic() + DEADLINE_S
        while text not in (self.output() if file is None else file.read_text("utf-8") if file.exists() else ""):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"no {text!r} in the output:\n{self.output()}")
            time.sleep(0.02)

    def end_input(self) -> None:
        """Close its standard input."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; the exit status.

        :raises subprocess.TimeoutExpired: it does not come.
        """
        return self._process.wait(DEADLINE_S)

    def stop(self) -> int:
        """Send SIGTERM, and wait; the exit status."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def output(self) -> str:
        """Its log and standard error."""
        return self._log_file.read_text("utf-8") + self._error_file.read_text("utf-8")
