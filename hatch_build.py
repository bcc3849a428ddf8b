"""Builds the extension into the wheel where there is a compiler, and a pure wheel where there is none.

Environment variables have their usual meaning: ``CC`` replaces the compiler, ``CFLAGS`` and ``LDFLAGS`` are added to its
arguments.
"""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

SOURCE = Path("src/fleetgw/_speedups.c")
NAME = "_speedups.abi3.so"
HEADERS = "install Python's headers (Debian, Ubuntu: python3-dev; Fedora: python3-devel)"


class SpeedupsHook(BuildHookInterface[BuilderConfig]):
    """Compiles ``fleetgw._speedups``: into a wheel; for an editable install, beside its source."""

    PLUGIN_NAME = "custom"
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # Any: hatchling's
        """Compile; leave the wheel pure, with a line that says why, where that is not possible."""
        source = Path(self.root, SOURCE)
        beside = source.with_name(NAME)
        if version == "editable":
            made = beside.with_name(f"_speedups.{os.getpid()}.so")
        else:  # outside of the tree, which may have one of an older source
            self._folder = tempfile.TemporaryDirectory()
            made = Path(self._folder.name, NAME)
        problem = unsupported() or compile_extension(source, made)
        if version == "editable":
            with suppress(OSError):  # in a read-only tree nothing was made, and an earlier one stays
                if problem:
                    beside.unlink()
                else:
                    made.replace(beside)  # at once: a process that loaded half of it would crash
        if problem:
            self.app.display_warning(f"fleetgw is built without its C extension, and works without it: {problem}")
        elif version != "editable":
            build_data["pure_python"] = False
            build_data["tag"] = f"cp311-abi3-{platform_tag()}"
            build_data["force_include"][str(made)] = f"fleetgw/{NAME}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  hatchling's
        """Remove the folder that it was compiled in."""
        if self._folder is not None:
            self._folder.cleanup()


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


def platform_tag() -> str:
    """This machine's, for a wheel's name: on Linux without a promise about the C library, which auditwheel adds."""
    if sys.platform == "darwin":
        return next(platform_tags())
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def compile_extension(source: Path, target: Path) -> str:
    """Compile with ``CC``, or else the compiler that Python was built with, or else ``cc``.

    :return: the problem, with its remedy where that is known; empty when there is none.
    """
    includes = dict.fromkeys(sysconfig.get_path(name) for name in ("include", "platinclude"))
    if not any(Path(include, "Python.h").exists() for include in includes):
        return f"{next(iter(includes))}/Python.h is missing; {HEADERS}"
    try:
        wanted, flags, link_flags = (shlex.split(os.environ.get(name, "")) for name in ("CC", "CFLAGS", "LDFLAGS"))
    except ValueError as error:
        return f"CC, CFLAGS or LDFLAGS cannot be read: {error}"
    compiler = wanted or shlex.split(sysconfig.get_config_var("CC") or "cc")
    if not wanted and shutil.which(compiler[0]) is None:
        compiler = ["cc"]
    command = [*compiler, "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-fvisibility=hidden"]
    if sys.platform == "darwin":
        command += ["-undefined", "dynamic_lookup"]
    command += [*flags, *(f"-I{include}" for include in includes), str(source), "-o", str(target), *link_flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603  our own
    except OSError as error:
        return f"{compiler[0]}: {error.strerror}; install a C compiler, such as gcc"
    return "" if done.returncode == 0 else f"{compiler[0]} ended with {done.returncode}\n{done.stderr.strip()}"
