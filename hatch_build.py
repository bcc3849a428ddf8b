"""Builds the extension into the wheel where there is a compiler, and a pure wheel where there is none."""

from __future__ import annotations

import shlex
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/fleetgw/_speedups.c"
SUFFIX = ".abi3.so"


class SpeedupsHook(BuildHookInterface):
    """Compiles ``fleetgw._speedups`` beside its source, for wheels and editable installs."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  Any: hatchling's
        """Compile; leave the wheel pure, with a line that says why, where that is not possible."""
        target = Path(self.root, SOURCE).with_suffix(SUFFIX)
        problem = unsupported() or compile_extension(Path(self.root, SOURCE), target)
        if problem:
            target.unlink(missing_ok=True)
            self.app.display_warning(f"fleetgw is built without its C extension, and works without it: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"cp311-abi3-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["force_include"][str(target)] = "fleetgw/" + target.name


def unsupported() -> str:
    """The reason for which this interpreter cannot have the extension; empty when it can."""
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is not CPython"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "this Python has no global lock"
    if sys.byteorder != "little" or struct.calcsize("P") != 8:
        return "the machine is not a little-endian one of 64 bits"
    if sys.platform == "win32":
        return "it is for POSIX systems"
    return ""


def compile_extension(source: Path, target: Path) -> str:
    """Compile with the compiler of this Python (or ``CC``); returns what is wrong, empty when nothing is."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")
    command = [*compiler, "-O2", "-g", "-fPIC", "-shared", "-Wall", "-Wextra", "-fvisibility=hidden"]
    if sys.platform == "darwin":
        command += ["-undefined", "dynamic_lookup"]
    command += [f"-I{sysconfig.get_paths()['include']}", str(source), "-o", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own command
    except OSError as error:
        return f"{compiler[0]}: {error.strerror}"
    return "" if done.returncode == 0 else done.stderr.strip() or f"{compiler[0]} ended with {done.returncode}"
