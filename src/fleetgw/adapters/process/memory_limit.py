"""Memory limit of this process: the machine's memory, or its container's limit when that is less."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """Minimum of the machine's memory and the limits of the process's control groups (versions 1 and 2), in bytes.

    :param root: the folder of ``proc`` and ``sys``.
    :return: None where the system shows no limit.
    """
    return min(_limits(root), default=None)


def _limits(root: Path) -> Iterator[int]:
    for line in _text(root / "proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            yield int(line.split()[1]) * 1024
    for file in _limit_files(root):
        with suppress(ValueError):  # "max": no limit
            yield int(_text(file))


def _limit_files(root: Path) -> Iterator[Path]:
    """Files with the limits of the process's control groups and of all their ancestors.

    In a container the path in ``/proc/self/cgroup`` is often the host's and invisible: the limit is at the mount point.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        mount = root / ("sys/fs/cgroup/memory" if controllers else "sys/fs/cgroup")
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
        for count in range(len(parts), -1, -1):
            yield mount.joinpath(*parts[:count], name)


def _text(file: Path) -> str:
    try:
        return file.read_text("ascii", "replace")
    except OSError:
        return ""
