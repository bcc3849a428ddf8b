"""Builds everything that a release consists of: the sdist, and wheels with the extension for Linux (``make wheels``).

Zig's C compiler, which is on PyPI, compiles for each machine and C library on any of them. auditwheel checks that a wheel
needs nothing that its platform need not have, abi3audit that it keeps to the stable ABI.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PLATFORMS = {
    "manylinux_2_17_x86_64": "x86_64-linux-gnu.2.17",
    "manylinux_2_17_aarch64": "aarch64-linux-gnu.2.17",
    "musllinux_1_2_x86_64": "x86_64-linux-musl",
    "musllinux_1_2_aarch64": "aarch64-linux-musl",
}
"""The wheels' platforms, with Zig's name of each: machine, system, C library and its oldest version."""

MUSL = "libc.so"
"""The name by which Zig has a library ask for musl; its loader knows it, auditwheel does not."""


def headers(folder: Path) -> Path:
    """Copy this Python's headers to ``folder``, with this machine's ``pyconfig.h``: that of Debian includes one by machine.

    The stable ABI depends on nothing in it that differs between the platforms: all are little-endian ones of 64 bits.
    """
    include = Path(sysconfig.get_path("include"))
    shutil.copytree(include, folder)
    of_machine = include.parent / str(sysconfig.get_config_var("MULTIARCH")) / include.name / "pyconfig.h"
    if of_machine.exists():
        shutil.copyfile(of_machine, folder / "pyconfig.h")
    return folder


def build_wheel(platform: str, include: Path, dist: Path) -> None:
    """Build one wheel into ``dist``, and check it.

    :raises SystemExit: it cannot be built, or promises too much.
    """
    environ = {
        "CC": f"{sys.executable} -m ziglang cc -target {PLATFORMS[platform]}",
        "CFLAGS": f"-I{include} -Werror",
        "LDFLAGS": "-s",
        "_PYTHON_HOST_PLATFORM": platform,  # the answer of sysconfig.get_platform, in cross builds
    }
    with tempfile.TemporaryDirectory() as folder:
        run("build", "--wheel", "--outdir", folder, str(ROOT), **environ)
        (wheel,) = Path(folder).iterdir()
        if not wheel.name.endswith(f"-abi3-{platform}.whl"):
            raise SystemExit(f"the extension cannot be compiled for {platform}")
        # the libraries of this machine say nothing about those of the platform
        audit = json.loads(run("auditwheel", "show", "--json", f"--ldpaths={folder}", str(wheel)))
        needed, libraries = audit["sym_tag"], audit["external_libs"].keys() - {MUSL}
        if libraries or version(needed) > version(platform):
            raise SystemExit(f"the wheel for {platform} needs {', '.join([needed, *libraries])}")
        run("abi3audit", "--strict", str(wheel))
        shutil.move(wheel, dist / wheel.name)


def version(platform: str) -> list[int]:
    """The version of the C library in a platform's name."""
    found = re.match(r"(?:many|musl)linux_(\d+)_(\d+)_", platform)
    if found is None:
        raise SystemExit(f"no version of a C library in {platform}")
    return [int(number) for number in found.groups()]


def run(module: str, *arguments: str, **environ: str) -> str:
    """Run a module of this environment; its standard output.

    :raises SystemExit: it fails.
    """
    done = subprocess.run(  # noqa: S603  our own command
        [sys.executable, "-m", module, *arguments], check=False, stdout=subprocess.PIPE, text=True, env=os.environ | environ
    )
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


def main(dist: Path) -> None:
    """Build all of them into ``dist``."""
    run("build", "--sdist", "--outdir", str(dist), str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        include = headers(Path(folder, "include"))
        for platform in PLATFORMS:
            build_wheel(platform, include, dist)
    print(*sorted(archive.name for archive in dist.iterdir()), sep="\n")


if __name__ == "__main__":
    main(Path(*sys.argv[1:]))
