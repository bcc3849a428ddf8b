"""``fleetgw completion`` in the shells themselves."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from unittest import TestCase

from tests.support.command_line import run
from tests.support.deadline import DEADLINE_S
from tests.support.needed import needed
from tests.support.terminal import Terminal


class CompletionCase(TestCase):
    """A shell, and the script for it in a folder with a file and a folder.

    :cvar shell: its name.
    """

    shell = ""

    def setUp(self) -> None:
        needed(None if shutil.which(self.shell) else f"{self.shell} is missing; on Debian: apt-get install {self.shell}")
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        status, script, error = run("completion", self.shell)
        self.assertEqual((status, error), (0, ""))
        (self.folder / "script").write_text(script)
        (self.folder / "myconfig.json").touch()
        (self.folder / "myfolder").mkdir()


class InteractiveCase(CompletionCase):
    """A shell in a terminal, where ``fleetgw`` prints its arguments.

    :cvar command: starts the shell without its user's files.
    :cvar begin: commands that load the script.
    """

    command: tuple[str, ...] = ()
    begin = ""

    def completed(self, typed: str) -> str:
        """The arguments that a line has after its last word was completed."""
        shell = Terminal(self, self.command, {"TERM": "dumb", "PS1": "$ ", "HOME": str(self.folder)}, self.folder)
        # the quotes keep the words for which the test waits out of the echo of the line that is typed
        shell.press(f"{self.begin}; fleetgw() {{ echo go''t:\"$*\":en''d; }}; echo rea''dy\n".encode())
        shell.read_until(b"ready")
        shell.press(f"fleetgw {typed}\t\n".encode())
        shell.read_until(b":end")
        return shell.output.rpartition(b"got:")[2].partition(b":end")[0].decode().strip()


class BashTests(InteractiveCase):
    shell = "bash"
    command = ("bash", "--norc", "--noprofile", "-i")
    begin = "source ./script"

    def test_commands_options_and_files(self) -> None:
        for typed, completed in (
            ("sig", "signals"),
            ("dead-letters red", "dead-letters redrive"),
            ("tap --fie", "tap --field"),
            ("completion z", "completion zsh"),
            ("tap --config myc", "tap --config myconfig.json"),
        ):
            with self.subTest(typed=typed):
                self.assertEqual(self.completed(typed), completed)


class ZshTests(InteractiveCase):
    shell = "zsh"
    command = ("zsh", "-f", "-i")
    begin = 'autoload -U compinit; compinit -u -D; eval "$(<script)"'

    test_commands_options_and_files = BashTests.test_commands_options_and_files


class FishTests(CompletionCase):
    shell = "fish"

    def completions(self, typed: str) -> dict[str, str]:
        """The completions that fish offers for a line, each with its description."""
        code = f"source script; complete -C {typed!r}"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=True,
        )
        return {name: about for name, _, about in (line.partition("\t") for line in done.stdout.splitlines())}

    def test_commands(self) -> None:
        self.assertEqual(
            self.completions("fleetgw sig"), {"signals": "count the signals of each vehicle, which Tesla bills"}
        )
        self.assertEqual(self.completions("fleetgw dead-letters red").keys(), {"redrive"})

    def test_options_and_files(self) -> None:
        self.assertEqual(self.completions("fleetgw tap --fie").keys(), {"--field"})
        self.assertEqual(self.completions("fleetgw completion z").keys(), {"zsh"})
        self.assertEqual(self.completions("fleetgw tap --config myc").keys(), {"myconfig.json"})
        self.assertEqual(self.completions("fleetgw simulate --certs my").keys(), {"myfolder/"})
