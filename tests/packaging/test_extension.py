"""With the extension and without it: wheels, editable installs, ``make demo`` and ``make test``. Slow; CI runs it."""

import os
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import unittest
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.deadline import DEADLINE_S
from tests.support.installation import (
    ENVIRONMENT,
    ROOT,
    VERSION,
    WITHOUT_COMPILER,
    Installation,
    build,
    unpack,
)
from tests.support.needed import needed

EXTENSION = "_speedups.abi3.so"
NOT_BUILT = "Python (the extension is not built)"
NO_HEADERS = """
import sysconfig
found = sysconfig.get_path
sysconfig.get_path = lambda name, *rest, **named: "/nonexistent" if "include" in name else found(name, *rest, **named)
"""


def setUpModule() -> None:
    """One sdist, unpacked, with an extension in its tree that is nothing but text: no wheel may have it."""
    global folder, project, built, refused
    folder = Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    build(ROOT, folder / "sdist", "--sdist")
    (sdist,) = (folder / "sdist").iterdir()
    project = unpack(sdist, folder / "project")
    (project / "src" / "fleetgw" / EXTENSION).write_text("stale")
    built = build(project, folder / "with", "--wheel")
    refused = build(project, folder / "without", "--wheel", **WITHOUT_COMPILER)


def compiler_needed() -> None:
    needed("a C compiler and Python's headers" if "built without" in built else None)


def content(wheel: Path) -> Mapping[str, bytes]:
    """The files of the package, and WHEEL of its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("fleetgw/") or name.endswith("/WHEEL")]
        return {Path(name).name: archive.read(name) for name in names}


class WheelTests(unittest.TestCase):
    def test_with_the_extension(self) -> None:
        compiler_needed()
        (wheel,) = (folder / "with").iterdir()
        platform = sysconfig.get_platform().replace("-", "_")
        self.assertEqual(wheel.name, f"fleetgw-{VERSION}-cp311-abi3-{platform}.whl")
        files = content(wheel)
        self.assertIn(b"Root-Is-Purelib: false", files["WHEEL"])
        self.assertTrue(files[EXTENSION].startswith(b"\x7fELF"), "the one that was compiled, not the one in the tree")
        self.assertNotIn(str(project).encode(), files[EXTENSION])
        self.assertIn("_speedups.pyi", files)
        self.assertNotIn("_speedups.c", files)

    def test_without_a_compiler(self) -> None:
        (wheel,) = (folder / "without").iterdir()
        self.assertEqual(wheel.name, f"fleetgw-{VERSION}-py3-none-any.whl")
        self.assertRegex(
            refused, "built without its C extension, and works without it: /nonexistent: No such file .* install"
        )
        files = content(wheel)
        self.assertIn(b"Root-Is-Purelib: true", files["WHEEL"])
        self.assertEqual([name for name in files if name.endswith((".so", ".c"))], [])

    def test_without_headers(self) -> None:
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(NO_HEADERS)
        dist = folder / "no-headers"
        output = build(project, dist, "--wheel", "--no-isolation", PYTHONPATH=str(folder / "site"))
        self.assertEqual([wheel.name for wheel in dist.iterdir()], [f"fleetgw-{VERSION}-py3-none-any.whl"])
        self.assertRegex(output, "built without its C extension.*python3-dev")


class UseTests(unittest.TestCase):
    """Each of them carries a record, and says which path it took."""

    def test_a_wheel_with_the_extension(self) -> None:
        compiler_needed()
        installation = Installation(folder / "installed-with")
        installation.pip_install(*(folder / "with").iterdir())
        installation.carry_a_record("C")
        installation.carry_a_record("Python (FLEETGW_SPEEDUPS=0)", FLEETGW_SPEEDUPS="0")

    def test_a_pure_wheel(self) -> None:
        installation = Installation(folder / "installed-without")
        installation.pip_install(*(folder / "without").iterdir())
        installation.carry_a_record(NOT_BUILT)

    def test_editable_with_a_compiler_and_later_without(self) -> None:
        """In the second case the extension of the first one is gone: its source may have changed meanwhile."""
        compiler_needed()
        checkout = folder / "checkout"
        shutil.copytree(project, checkout)
        installation = Installation(folder / "editable")
        installation.pip_install("--editable", checkout)
        installation.carry_a_record("C")
        os.utime(checkout / "src" / "fleetgw" / "_speedups.c")
        self.assertIn("older than its source", installation.run("fleetgw", "--version"))
        installation.pip_install("--no-deps", "--editable", checkout)
        self.assertIn("in C\n", installation.run("fleetgw", "--version"))
        installation.pip_install("--no-deps", "--editable", checkout, **WITHOUT_COMPILER)
        installation.carry_a_record(NOT_BUILT)


class MakeTests(unittest.TestCase):
    """``make`` in a checkout, on a machine without a compiler."""

    def make(self, target: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["make", "--no-print-directory", target], cwd=project, env=ENVIRONMENT | WITHOUT_COMPILER | environ, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def check(self, output: str) -> None:
        self.assertIn("\nfleetgw is built without its C extension, and works without it: /nonexistent: No such file", output)
        self.assertIn(f"\nfleetgw {VERSION}, hot path in {NOT_BUILT}\n", output)
        self.assertNotIn("Traceback", output)

    def test_demo(self) -> None:
        demo = self.make("demo")
        seen = []
        try:
            for line in demo.stdout:
                seen.append(line)
                if re.search(r"  V  .*Soc=", line):
                    break
            os.killpg(demo.pid, signal.SIGINT)  # as a terminal does
            seen.append(demo.communicate(timeout=DEADLINE_S)[0])
        finally:
            demo.kill()
            demo.wait()
            demo.stdout.close()
        self.check("".join(seen))
        self.assertIn("have ended", seen[-1])

    def test_test(self) -> None:
        """The target itself, with the tests of the codec in place of all."""
        tests = self.make("test", PYTEST_ADDOPTS="tests/codec tests/speedups", CI="")
        output, _ = tests.communicate(timeout=600)
        self.assertEqual(tests.returncode, 0, output)
        self.check(output)
        self.assertRegex(output, r"\n[1-9]\d* passed")
