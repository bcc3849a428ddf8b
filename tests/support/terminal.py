"""Commands in a terminal of their own."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from typing import TYPE_CHECKING

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from unittest import TestCase

_LINES, _COLUMNS = 24, 80

_IN_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command that runs in a terminal of 24 lines and 80 columns; killed at the end of the test.

    :ivar process: the command.
    :ivar output: what it has written so far.
    """

    def __init__(
        self, case: TestCase, command: Sequence[str], environ: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self._ours, self._theirs = pty.openpty()
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
        self._before = termios.tcgetattr(self._theirs)
        self.output = b""
        self.process = subprocess.Popen(  # noqa: S603  the test's own command
            [sys.executable, "-c", _IN_TERMINAL, *command],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            start_new_session=True,
            cwd=folder,
            env=os.environ | environ,
        )
        case.addCleanup(os.close, self._ours)
        case.addCleanup(os.close, self._theirs)
        case.addCleanup(self.process.wait)
        case.addCleanup(self.process.kill)

    def read_until(self, text: bytes) -> None:
        """Read what it writes until the text is in it.

        :raises AssertionError: the text does not come.
        """
        deadline = time.monotonic() + DEADLINE_S
        while text not in self.output:
            if time.monotonic() > deadline or not select.select([self._ours], [], [], DEADLINE_S)[0]:
                raise AssertionError(f"{text!r} does not come: {self.output!r}")
            self.output += os.read(self._ours, 65_536)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._ours, keys)

    def wait(self) -> int:
        """Wait for its end, and read the rest of its output; its exit status."""
        status = self.process.wait(DEADLINE_S)
        while select.select([self._ours], [], [], 0)[0]:
            self.output += os.read(self._ours, 65_536)
        return status

    def is_as_before(self) -> bool:
        """Whether the terminal has the settings that it had before the command."""
        return termios.tcgetattr(self._theirs) == self._before
