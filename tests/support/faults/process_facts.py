"""Facts about a process, from /proc."""

from pathlib import Path


def resident_mib(pid: int, name: str = "VmRSS") -> float:
    """Resident memory now; with ``VmHWM`` the most there ever was."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{name}:")[1].split()[0]) / 1024


def descriptors(pid: int) -> int:
    """Number of open file descriptors."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
