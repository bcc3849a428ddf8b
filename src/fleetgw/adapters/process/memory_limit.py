"""How much memory this process may use: the machine's, or its container's when that is less."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ROOT = Path("/")


def memory_limit_bytes(root: Path = _ROOT) -> int | None:
    """The least of the machine's memory and the limits of the control groups that this process is in (versions 1 and 2).

    :param root: where ``proc`` and ``sys`` are.
    :return: None where nothing says how much there is.
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
    """The files that hold a limit. A group is bounded by those it is in, too.

    In a container the path that ``/proc/self/cgroup`` names is often the host's and not to be seen: what is there is at
    the mount point itself.
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
