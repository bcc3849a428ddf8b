"""A broker as a process of its own on the loopback interface, which a test may kill, hang and start again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence


class BrokerProcess:
    """A broker that keeps its port and its files over ``kill`` and ``start``.

    Subclasses override ``command``, and call ``start`` at the end of the constructor. They override ``answers`` where a
    broker that accepts connections may not be ready yet.

    :param port: where it is to listen; None for a free one.
    :ivar port: on 127.0.0.1.
    :ivar folder: where it runs; it is removed at the end.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.folder = Path(tempfile.mkdtemp(prefix=f"fleetgw-{type(self).__name__}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """The command that runs it in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it accepts connections."""
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def start(self) -> None:
        """Start the process unless it runs, and wait until it answers.

        :raises RuntimeError: it does not; with its output.
        """
        if self._process is not None:
            return
        output_file = self.folder / "output.txt"
        with output_file.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                self.command(), cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline_s = time.monotonic() + DEADLINE_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                said = output_file.read_text(errors="replace")[-4000:]
                self.stop()
                raise RuntimeError(f"{type(self).__name__} did not start:\n{said}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: all unwritten data is lost."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open, without answers."""
        self._signal(signal.SIGSTOP)
        if self._process is not None:
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # on a busy machine its threads go on for a while

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, number: signal.Signals) -> None:
        self._signal(number)
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
