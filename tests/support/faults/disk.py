"""A small disk of a test's own, and a disk whose syncs fail. Both need root."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_BYTES = 4096


def mounting_missing() -> str | None:
    """Reason why no disk can be mounted here, for people; None when one can."""
    with tempfile.TemporaryDirectory() as folder:
        tried = _mount(Path(folder), 1)
        if tried.returncode:
            return "no tmpfs can be mounted: run the tests as root, in a container with --cap-add SYS_ADMIN"
        _unmount(Path(folder))
    return None


def strace_missing() -> str | None:
    """Reason why no system call can be made to fail here, for people; None when one can."""
    if shutil.which("strace") is None:
        return "strace not found: install it (Debian: apt-get install strace)"
    return None


class SmallDisk:
    """A disk of some MiB.

    :ivar path: its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Leave no byte free."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(_BLOCK_BYTES))
            except OSError:
                pass

    def empty(self) -> None:
        """Remove what filled it."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, mib: int) -> Iterator[SmallDisk]:
    """Mount a disk at a folder, which is made."""
    path.mkdir()
    mounted = _mount(path, mib)
    if mounted.returncode:
        raise RuntimeError(mounted.stderr.decode())
    try:
        yield SmallDisk(path)
    finally:
        _unmount(path)


@contextmanager
def failing_syncs(pid: int) -> Iterator[None]:
    """Every sync of a process fails with EIO meanwhile."""
    command = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"]
    with subprocess.Popen([*command, "-p", str(pid)], stderr=subprocess.PIPE, text=True) as strace:  # noqa: S603  a fixed program
        assert strace.stderr is not None  # noqa: S101  it was asked for
        line = strace.stderr.readline()
        if "attached" not in line:
            strace.kill()
            raise RuntimeError(f"strace: {line}")
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)  # it detaches, and the process goes on


def flip_bits(file: Path, positions: list[int]) -> None:
    """Flip one bit of each of these bytes."""
    content = bytearray(file.read_bytes())
    for at in positions:
        content[at] ^= 1 << at % 8
    file.write_bytes(content)


def _mount(folder: Path, mib: int) -> subprocess.CompletedProcess[bytes]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False)  # noqa: S603  a fixed program


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", str(folder)], capture_output=True, check=True)  # noqa: S603, S607  a fixed program
