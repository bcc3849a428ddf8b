"""Starts the load of ``load.py`` against a server, and reads its results."""

import json
import subprocess
import sys
from pathlib import Path

from servers import HERE, LOAD_CPU, Server, on_cpu


def start_load(server: Server, folder: Path, what: str, *options: str) -> subprocess.Popen[str]:
    """A load that is connected, and waits for ``go``."""
    load = on_cpu(LOAD_CPU, [sys.executable, HERE / "load.py", what, str(server.port), folder, *options])
    if "READY" not in _line(load):
        raise SystemExit(f"the load could not connect to {server.name}")
    return load


def go(load: subprocess.Popen[str]) -> dict[str, float]:
    """Let it work once; returns its results."""
    assert load.stdin is not None
    load.stdin.write("go\n")
    load.stdin.flush()
    results: dict[str, float] = json.loads(_line(load) or '{"done": 0}')
    return results


def _line(load: subprocess.Popen[str]) -> str:
    assert load.stdout is not None
    return load.stdout.readline()
