import shutil
import tempfile
from pathlib import Path
from unittest import TestCase

from tests.support.command_line import run


class CertsTests(TestCase):
    def setUp(self):
        self.path = Path(tempfile.mkdtemp()) / "certs"
        self.addCleanup(shutil.rmtree, self.path.parent)

    def files(self):
        return sorted(str(file.relative_to(self.path)) for file in self.path.rglob("*.*"))

    def test_makes_everything(self):
        status, out, err = run("certs", self.path, "--vehicles", 2)
        self.assertEqual((status, err), (0, ""))
        self.assertIn("TeslaMotors", out)
        files = self.files()
        self.assertEqual(files[:4], ["ca.crt", "ca.key", "server.crt", "server.key"])
        self.assertEqual(len(files), 8)

    def test_adds_vehicles_and_keeps_the_authority(self):
        run("certs", self.path)
        authority = (self.path / "ca.crt").read_bytes()
        status, out, _ = run("certs", self.path, "--vehicles", 3)
        self.assertEqual(status, 0)
        self.assertIn("made 2 vehicles; vehicles in all: 3", out)
        self.assertEqual((self.path / "ca.crt").read_bytes(), authority)
        status, out, _ = run("certs", self.path, "--vehicles", 3)
        self.assertIn("made nothing", out)

    def test_force_replaces_everything(self):
        run("certs", self.path, "--vehicles", 3)
        authority = (self.path / "ca.crt").read_bytes()
        status, _, _ = run("certs", self.path, "--force")
        self.assertEqual((status, len(self.files())), (0, 6))
        self.assertNotEqual((self.path / "ca.crt").read_bytes(), authority)

    def test_half_an_authority(self):
        run("certs", self.path)
        (self.path / "ca.key").unlink()
        status, _, err = run("certs", self.path, "--vehicles", 3)
        self.assertEqual(status, 2)
        self.assertIn("ca.key is missing", err)
        self.assertTrue((self.path / "ca.crt").exists())

    def test_nonsense(self):
        for arguments in (("--days", 0), ("--days", 36_501), ("--vehicles", -1), ("--host", "ünknown.example")):
            with self.subTest(arguments):
                status, _, err = run("certs", self.path, *arguments)
                self.assertEqual(status, 2)
                self.assertIn("fleetgw certs: ", err)

    def test_a_file_in_the_way(self):
        self.path.write_text("a file")
        status, _, err = run("certs", self.path)
        self.assertEqual(status, 2)
        self.assertEqual(err, f"fleetgw certs: {self.path}: File exists; name a folder to which you may write\n")
