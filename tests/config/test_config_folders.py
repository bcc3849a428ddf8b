"""Checks of the folders that a gateway stores records in."""

import tempfile
from pathlib import Path
from unittest.mock import patch

from tests.support.config_case import ConfigCase


class DeadLettersTests(ConfigCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name)

    def test_a_folder_that_can_be_made(self) -> None:
        for path in (self.path, self.path / "a" / "b"):
            self.assertEqual(self.warned(dead_letters={"path": str(path)}), [])
        self.assertEqual(list(self.path.iterdir()), [])

    def test_a_file_and_a_folder_below_one(self) -> None:
        file = self.path / "file"
        file.touch()
        for path in (file, file / "below"):
            expected = [f'dead_letters.path: is "{path}", and {file} is a file; name a folder']
            self.assertEqual(self.refused(dead_letters={"path": str(path)}), expected)

    def test_the_folder_of_the_spool(self) -> None:
        for path in (self.path, self.path / "a" / ".."):
            (problem,) = self.refused(dead_letters={"path": str(path)}, spool={"path": str(self.path), "always": True})
            self.assertEqual(problem, f'dead_letters.path: is "{path}", the folder of the spool; name another folder')

    def test_a_folder_that_is_not_writable(self) -> None:
        with patch("fleetgw.app.config.folders.access", return_value=False):  # the tests may run as root
            (problem,) = self.refused(dead_letters={"path": str(self.path / "letters")})
        expected = f"dead_letters.path: cannot be written to: {self.path}; name a folder that may be written to"
        self.assertEqual(problem, expected)

    def test_values(self) -> None:
        (problem,) = self.refused(dead_letters={})
        self.assertIn("dead_letters.path", problem)
        (problem,) = self.refused(dead_letters={"path": str(self.path), "max_mib": 0})
        self.assertIn("dead_letters.max_mib", problem)
        (problem,) = self.refused(dead_letters={"path": str(self.path), "max_mb": 1})
        self.assertIn('did you mean "max_mib"?', problem)
