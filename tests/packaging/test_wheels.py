"""The wheels of a release: one for each platform, with an extension for it; this machine's is used. Slow; CI runs it."""

import json
import platform
import tempfile
import unittest
import zipfile
from importlib.util import find_spec
from pathlib import Path
from unittest import mock

import build_wheels
from hatch_build import SOURCE
from tests.support.installation import ROOT, VERSION, Installation
from tests.support.needed import needed

MACHINES = {"x86_64": 62, "aarch64": 183}
"""``e_machine`` of ELF."""


class WheelsTests(unittest.TestCase):
    def setUp(self) -> None:
        has_all = find_spec("ziglang") and (ROOT / SOURCE).exists()
        needed(None if has_all else "ziglang and the other packages of make wheels, and the extension's source")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_one_for_each_platform(self) -> None:
        build_wheels.main(self.folder / "dist")
        wheels = {name: f"fleetgw-{VERSION}-cp311-abi3-{name}.whl" for name in build_wheels.PLATFORMS}
        self.assertEqual(
            {path.name for path in (self.folder / "dist").iterdir()}, {f"fleetgw-{VERSION}.tar.gz", *wheels.values()}
        )
        for name, wheel in wheels.items():
            with self.subTest(name), zipfile.ZipFile(self.folder / "dist" / wheel) as archive:
                extension = archive.read("fleetgw/_speedups.abi3.so")
                machine = next(number for machine, number in MACHINES.items() if name.endswith(machine))
                self.assertEqual(int.from_bytes(extension[18:20], "little"), machine)
                tag = f"Tag: cp311-abi3-{name}\n".encode()
                self.assertIn(tag, archive.read(f"fleetgw-{VERSION}.dist-info/WHEEL"))
        installation = Installation(self.folder)
        installation.pip_install(self.folder / "dist" / wheels[f"manylinux_2_17_{platform.machine()}"])
        installation.carry_a_record("C")

    def audited(self, found: str, *libraries: str) -> list[Path]:
        """The wheels that are kept, where the audit of the one for manylinux_2_17 finds another platform, or libraries."""
        dist = self.folder / "-".join([found, *libraries])
        dist.mkdir()

        def run(module: str, *arguments: str, **_: str) -> str:
            if module == "build":
                Path(arguments[2], "fleetgw-0-cp311-abi3-manylinux_2_17_x86_64.whl").touch()
            return json.dumps({"sym_tag": found, "external_libs": dict.fromkeys(libraries)})

        with mock.patch.object(build_wheels, "run", run):
            build_wheels.build_wheel("manylinux_2_17_x86_64", self.folder, dist)
        return [*dist.iterdir()]

    def test_one_that_promises_too_much(self) -> None:
        """It needs a newer C library than its name says."""
        self.assertEqual(len(self.audited("manylinux_2_17_x86_64")), 1)
        self.assertEqual(len(self.audited("manylinux_2_5_x86_64")), 1)
        with self.assertRaisesRegex(SystemExit, "libz.so.1"):
            self.audited("manylinux_2_17_x86_64", "libz.so.1")
        for needed_platform in ("manylinux_2_34_x86_64", "linux_x86_64"):
            with self.subTest(needed_platform), self.assertRaisesRegex(SystemExit, needed_platform):
                self.audited(needed_platform)

    def test_one_without_the_extension(self) -> None:
        with (
            mock.patch.dict(build_wheels.PLATFORMS, {"manylinux_2_17_x86_64": "odd-machine"}),
            self.assertRaisesRegex(SystemExit, "cannot be compiled for manylinux_2_17_x86_64"),
        ):
            build_wheels.build_wheel("manylinux_2_17_x86_64", self.folder, self.folder)
