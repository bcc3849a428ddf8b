"""Tests and fuzz with the C extension built for AddressSanitizer and UndefinedBehaviorSanitizer: ``make test-sanitized``.

The package is copied, so that the ordinary extension stays as it is. Python's objects are allocated one by one, so that
a read beyond the end of one is found. Leaks have tests of their own: Python itself does not free everything at its end.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_PACKAGE = _ROOT / "src" / "fleetgw"
_COPY = _ROOT / "build" / "sanitized"
_FLAGS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
_TESTS = [
    "tests/codec",
    "tests/ingress",
    "tests/speedups",
    "--ignore=tests/speedups/test_leaks.py",
]  # freed memory stays: no bound on it


def build(compiler: list[str]) -> None:
    """Copy the package and build the extension into the copy."""
    shutil.rmtree(_COPY, ignore_errors=True)
    shutil.copytree(_PACKAGE, _COPY / "fleetgw", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    target = _COPY / "fleetgw" / "_speedups.abi3.so"
    includes = f"-I{sysconfig.get_paths()['include']}"
    command = [*compiler, *_FLAGS, "-fPIC", "-shared", includes, str(_PACKAGE / "_speedups.c"), "-o", str(target)]
    subprocess.run(command, check=True)  # noqa: S603  our own command


def environment(compiler: list[str]) -> dict[str, str]:
    """The environment in which the copy is the package, and the sanitizers' libraries are loaded first."""
    libraries = [
        subprocess.run([*compiler, f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
        for name in ("libasan.so", "libubsan.so")
    ]
    return os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "PYTHONPATH": str(_COPY),
        "PYTHONMALLOC": "malloc",
        "FLEETGW_SPEEDUPS": "1",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.speedups.sanitized", description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="of the fuzz (default: 200000)")
    options = parser.parse_args()
    compiler = shlex.split(os.environ.get("CC") or "gcc")
    build(compiler)
    programs = (
        ["-c", f"from fleetgw.adapters.speedups import SPEEDUPS as used; assert used.__file__.startswith({str(_COPY)!r})"],
        ["-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", *_TESTS],
        ["-m", "tests.fuzz", str(options.inputs)],
    )
    environ = environment(compiler)
    return any(subprocess.run([sys.executable, *program], env=environ, check=False).returncode for program in programs)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
