"""A systemd of a test's own, process 1 of namespaces beside the machine's processes: it runs the unit of ``examples/``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import SkipTest
from uuid import uuid4

from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

ROOT = Path(__file__).parents[3]
BOOT = Path(__file__).with_name("boot.sh")
BOOT_S = 60.0
"""Longest wait for systemd to come up, which takes a second where it does."""

SERVICE = "fleetgw.service"
_PROGRAMS = ("setpriv", "unshare", "nsenter", "systemctl")


class OwnSystemd:
    """systemd with the unit, for use in a ``with`` statement; everything that it runs is killed at the end.

    A test is skipped where it may have no namespaces or control groups, as in most containers.

    :ivar configuration: the folder that the service has as ``/etc/fleetgw``.
    """

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory()
        self._folder = Path(self._temporary.name)
        self._cgroup = Path()
        self.configuration = self._folder / "etc"
        for name in ("etc", "memory", f"units/{SERVICE}.d"):
            (self._folder / name).mkdir(parents=True)
        log = self._folder / "log"
        seen = " ".join(f'"{path}"' for path in (ROOT, sys.prefix, sys.base_prefix))
        self.set(
            StandardOutput=f"append:{log}",
            StandardError=f"append:{log}",
            ProtectHome="tmpfs",  # so that what follows is seen there as well
            BindReadOnlyPaths=seen,
        )

    def set(self, **settings: str) -> None:
        """Have the service use other settings from its next start on."""
        dropin = "".join(f"{name}={value}\n" for name, value in settings.items())
        (self._folder / "units" / f"{SERVICE}.d" / f"{'-'.join(settings)}.conf").write_text(f"[Service]\n{dropin}")

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end()
        self._temporary.cleanup()

    def _start(self) -> None:
        if lacking := [each for each in _PROGRAMS if not shutil.which(each)]:
            raise SkipTest(f"{', '.join(lacking)}: not there")
        if os.geteuid():
            raise SkipTest("a systemd of one's own needs root")
        self._cgroup = _cgroup2() / f"fleetgw-{uuid4().hex}"
        namespaces = ["--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--mount-proc"]
        arguments = map(str, [BOOT, self._folder, ROOT / "examples" / SERVICE, sys.prefix, self._cgroup])
        with (self._folder / "console").open("wb") as console:
            self._process = subprocess.Popen(  # noqa: S603  our own command; it dies with the test
                ["setpriv", "--pdeathsig", "KILL", "unshare", *namespaces, "--kill-child", "bash", *arguments],  # noqa: S607
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            self._wait_until_it_runs()
        except BaseException:
            self._end()
            raise

    def _wait_until_it_runs(self) -> None:
        self.wait_for(lambda: "systemd starts" in self.console() or self._process.poll() is not None)
        if self._process.poll() is not None:
            raise SkipTest(f"namespaces for systemd cannot be had here: {self.console()}")
        try:
            self.wait_for(lambda: self.systemctl("is-system-running").stdout == "running\n", BOOT_S)
        except AssertionError as error:  # no service of ours runs yet: the machine gives systemd less than it needs
            raise SkipTest(f"systemd does not come up here: {error}") from error

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self.wait_for(self._removed_its_cgroup)

    def _removed_its_cgroup(self) -> bool:
        """Remove the control group, which can be done once the last of its processes has ended."""
        try:
            for folder, _, _ in os.walk(self._cgroup, topdown=False):
                Path(folder).rmdir()  # its files go with it
        except OSError:
            return False
        return True

    def systemctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run systemctl in the namespaces."""
        pid = self._process.pid
        enter = ["nsenter", f"--target={pid}", "--mount", f"--pid=/proc/{pid}/ns/pid_for_children"]
        return subprocess.run(  # noqa: S603  our own command
            [*enter, "systemctl", *arguments], capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )

    def shown(self, *names: str) -> list[str]:
        """Properties of the service at one moment, in the order of their names."""
        result = self.systemctl("show", f"--property={','.join(names)}", SERVICE)
        result.check_returncode()
        values = dict(line.split("=", 1) for line in result.stdout.splitlines())
        return [values[name] for name in names]

    def console(self) -> str:
        """The lines of systemd itself so far."""
        return (self._folder / "console").read_text()

    def log(self) -> str:
        """The lines of the service so far: standard output and standard error."""
        log = self._folder / "log"
        return log.read_text() if log.exists() else ""

    def wait_for(self, condition: Callable[[], bool], at_most_s: float = DEADLINE_S) -> None:
        """Wait until a condition holds.

        :raises AssertionError: it does not come to hold.
        """
        deadline = time.monotonic() + at_most_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"it did not come to hold:\n{self.console()}\n{self.log()}")
            time.sleep(0.05)


def _cgroup2() -> Path:
    """Where the second version of control groups is mounted."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(place)
    raise SkipTest("control groups of version 2 are not mounted")
