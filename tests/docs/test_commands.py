"""Every command of the pages runs, or stands here with the reason for which it cannot, and its options exist."""

import argparse
import re
import shlex
import subprocess
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path

from fleetgw.cli import build_parser
from tests.docs.blocks import LANGUAGES, Command, all_commands, blocks, calls, inline_commands
from tests.docs.not_run import NOT_RUN, reason_not_to_run
from tests.docs.sandbox import INTERRUPTED, Place, Sandbox
from tests.docs.test_walks import WALKS
from tests.test_documentation import ROOT

RUN_ON = {
    r"logger_lines": "VehicleSpeed",
    r"^twistd ": "server_listening",
    r"^fleetgw trace ": "follows",
}
"""Commands that run until Ctrl-C, by a regular expression, each with a text to wait for."""


ONE_PROFILE = threading.Lock()
"""The gateway makes one profile at a time."""


def run(sandbox: Sandbox, command: Command) -> str | None:
    """The fault of the run of a command; None without one."""
    awaited = next((text for pattern, text in RUN_ON.items() if re.search(pattern, command.text)), None)
    profiles = re.search(r"fleetgw bundle|/profile", command.text)
    try:
        with ONE_PROFILE if profiles else nullcontext():
            ended = sandbox.run(command.text) if awaited is None else sandbox.run_until(command.text, awaited)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"{command.page}:{command.line}: {command.text}\n{error}"
    if ended.status in {0} | ({INTERRUPTED} if awaited else set()):
        return None
    return f"{command.page}:{command.line}: {command.text}\nstatus {ended.status}: {ended.output}"


class CommandsTests(unittest.TestCase):
    def test_every_command_runs(self) -> None:
        """A command begins after those before it on its page have ended; pages run beside each other."""
        pages: dict[str, list[Command]] = {}
        for each in all_commands():
            if each.page not in WALKS and reason_not_to_run(each) is None:
                pages.setdefault(each.page, []).append(each)
        begun: set[str] = set()
        failed: list[str] = []
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with Sandbox(folder) as sandbox, ThreadPoolExecutor(3) as pool:
            for row in zip_longest(*pages.values()):
                wanted = {each.text: each for each in row if each is not None and each.text not in begun}
                begun |= wanted.keys()
                failed += [found for found in pool.map(lambda each: run(sandbox, each), wanted.values()) if found]
        self.assertGreater(len(begun), 15)
        if failed:
            self.fail("\n\n".join(failed))

    def test_ctrl_c_has_one_status_in_every_pipeline(self) -> None:
        place = Place(Path(self.enterContext(tempfile.TemporaryDirectory())))
        for pipeline in ("echo begun | (cat; exec sleep 60)", "(trap 'exit 0' INT; echo begun; sleep 60) | cat"):
            with place.running(pipeline, "begun") as running:
                self.assertIn(running.interrupt().status, {0, INTERRUPTED}, pipeline)

    def test_each_reason_belongs_to_a_command(self) -> None:
        commands = all_commands()
        patterns = [*NOT_RUN, *RUN_ON]
        self.assertEqual([each for each in patterns if not any(re.search(each, one.text) for one in commands)], [])

    def test_every_block_has_a_language(self) -> None:
        """Without one, a command would not be found."""
        self.assertEqual([each[:3] for each in blocks() if each.language not in LANGUAGES], [])

    def test_no_command_hides_in_other_blocks(self) -> None:
        hidden = re.compile(r"(?:^\$? ?|[<$]\()(?:fleetgw|twistd|make|pip|curl|systemctl|kubectl) [-\w]", re.MULTILINE)
        self.assertEqual(
            [each[:3] for each in blocks() if each.language not in {"sh", "console"} and hidden.search(each.text)], []
        )


class OptionsTests(unittest.TestCase):
    """The real parsers take the arguments, of commands that run and of those that do not."""

    def parse(self, words: list[str]) -> None:
        try:
            build_parser().parse_args(words)
        except SystemExit as end:
            if end.code:
                raise AssertionError(f"fleetgw {shlex.join(words)} is no command") from None

    def test_blocks(self) -> None:
        found = [(each, words) for each in all_commands() for words in calls(each.text, "fleetgw")]
        self.assertGreater(len(found), 20)
        for command, words in found:
            with self.subTest(page=command.page, line=command.line):
                self.parse(words)

    def test_the_text(self) -> None:
        """The text names a command, perhaps with some of its arguments."""
        found = [(each, words) for each in inline_commands() for words in calls(each.text, "fleetgw")]
        self.assertGreater(len(found), 40)
        for command, words in found:
            with self.subTest(page=command.page, line=command.line):
                parser: argparse.ArgumentParser = build_parser()
                for word in words:
                    inner = subcommands(parser)
                    if inner:
                        self.assertIn(word, set(parser._option_string_actions if word.startswith("-") else inner))
                        parser = inner.get(word, parser)
                    elif word.startswith("-"):
                        self.assertIn(word.partition("=")[0], set(parser._option_string_actions))

    def test_targets_of_make(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
        called = [words for each in all_commands() for words in calls(each.text, "make")]
        variables = {word.partition("=")[0] for _, *settings in called for word in settings}
        self.assertEqual({each for each in variables if f"$({each})" not in makefile}, set())
        named = {target for target, *_ in called}
        pages = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
        named |= set(re.findall(r"`make ([\w-]+)", pages))
        self.assertGreater(len(named), 8)
        self.assertEqual(named - targets, set())

    def test_examples_exist(self) -> None:
        named = {word for each in all_commands() for word in re.findall(r"\b(?:examples|deploy)/[\w./-]+", each.text)}
        self.assertGreater(len(named), 5)
        self.assertEqual([each for each in named if not (ROOT / each).exists()], [])


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    return {}
