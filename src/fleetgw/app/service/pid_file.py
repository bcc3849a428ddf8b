"""The pid file of twistd: whether to use one, and how to treat one that exists already."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.python.usage import UsageError

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

DEFAULT = "twistd.pid"
MODE = 0o600


def choose_pid_file(
    twistd_options: MutableMapping[str, object], arguments: Sequence[str], proc: Path = Path("/proc")
) -> None:
    """Choose the pid file before twistd looks at it.

    In the foreground there is none unless ``--pidfile`` asks for it: the parent process knows the process id, and in a
    container the file of a killed gateway names the process id of the next one. A stale file that names this very process is
    removed; twistd removes one that names no running process.

    :param twistd_options: changed in place.
    :param arguments: of the process; twistd does not distinguish a default from the same value on the command line.
    :raises UsageError: the pid file is another program's, or cannot be written; with the remedy.
    """
    foreground = twistd_options.get("nodaemon") or twistd_options.get("debug")
    if foreground and not any(argument.startswith("--pi") for argument in arguments):
        twistd_options["pidfile"] = ""
    name = str(twistd_options.get("pidfile") or "")
    if not name:
        return
    file = Path(name).absolute()
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"the pid file {file} cannot be written; name another by --pidfile, or none by --nodaemon")
    with suppress(OSError, ValueError):
        pid = int(file.read_text("utf-8"))
        if pid == os.getpid():
            file.unlink()
            print(f"removed the pid file {file} of an earlier process: it has the number of this one", file=sys.stderr)
        elif (command := _command(proc / str(pid) / "cmdline")) and "twistd" not in command:
            raise UsageError(
                f"the pid file {file} names process {pid}, which is {command!r} and no gateway: a gateway that was killed "
                "has left it behind. Remove the file, then start again"
            )


def _command(file: Path) -> str:
    """The command line of a process; empty when it cannot be read."""
    with suppress(OSError):
        return file.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return ""


def restrict_pid_file(twistd_options: MutableMapping[str, object]) -> None:
    """Make the file writable for its owner alone, whatever the umask: administrators signal the process it names."""
    if name := twistd_options.get("pidfile"):
        with suppress(OSError):
            Path(str(name)).chmod(MODE)
