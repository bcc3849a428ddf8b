"""Layout of ``--help``."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class HelpFormatter(argparse.HelpFormatter):
    """Fits the paragraphs of descriptions to the terminal; blocks with indented lines, such as examples, stay unchanged."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        blocks = text.rstrip("\n").split("\n\n")
        return "\n\n".join(
            block if "\n " in f"\n{block}" else textwrap.fill(block, width, initial_indent=indent, subsequent_indent=indent)
            for block in blocks
        )


def summaries(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> Mapping[str, str]:
    """The one line on each command, by its name."""
    return {each.dest: each.help or "" for each in commands._choices_actions}  # argparse gives them to its formatter alone


def lay_out(parser: argparse.ArgumentParser) -> None:
    """Lay out the help of a command, and of the commands below it, which get their lines of its examples."""
    parser.formatter_class = HelpFormatter
    for action in parser._actions:  # argparse has no other way to the commands below
        if not isinstance(action, argparse._SubParsersAction):
            continue
        about = summaries(action)
        for name, below in action.choices.items():
            examples = [line for line in (parser.epilog or "").splitlines() if line.startswith(f"  {below.prog} ")]
            below.epilog = "\n".join(["examples:", *examples]) if examples else None
            if below.description is None:
                below.description = f"{about[name][:1].upper()}{about[name][1:]}."
            lay_out(below)
