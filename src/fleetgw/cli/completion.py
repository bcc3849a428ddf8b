"""``fleetgw completion``: completion of commands, options and files in bash, zsh and fish."""

from __future__ import annotations

import argparse
from pathlib import Path

from fleetgw.cli.help import summaries

_DESCRIPTION = """\
Print a script that completes the commands and options of fleetgw, and the files that they take, in a shell.

It needs nothing but the shell. The exit status is 0. Print it again after an update of fleetgw.
"""

_EXAMPLES = """\
examples:
  source <(fleetgw completion bash)            in this bash; write this line into ~/.bashrc for every one
  eval "$(fleetgw completion zsh)"             in this zsh, after compinit; into ~/.zshrc for every one
  fleetgw completion fish | source             in this fish
  fleetgw completion fish > ~/.config/fish/completions/fleetgw.fish       in every fish
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "completion",
        help="complete these commands in bash, zsh or fish",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; 0. ``arguments.whole`` is the parser of all commands."""
    import shtab

    _prepare(arguments.whole)
    print(shtab.complete(arguments.whole, shell=arguments.shell))
    return 0


def _prepare(parser: argparse.ArgumentParser) -> None:
    """Let shtab complete files where an option takes a path, and describe each command by its line in the help."""
    import shtab

    for action in parser._actions:  # as shtab does
        if isinstance(action, argparse._SubParsersAction):
            action.help = None  # the groups in its place are for people; shtab leaves out an action that is suppressed
            described = summaries(action)
            for name, command in action.choices.items():
                command.description = described[name]
                _prepare(command)
        elif action.type is Path:
            is_folder = action.metavar == "DIR"
            action.complete = shtab.DIRECTORY if is_folder else shtab.FILE  # type: ignore[attr-defined]  # shtab's own
