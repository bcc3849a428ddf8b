"""The fenced blocks of the pages, and the commands in them."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, NamedTuple

from tests.test_documentation import PAGES, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

LANGUAGES = {"console", "dockerfile", "ini", "json", "mermaid", "python", "sh", "sql", "text", "toml", "yaml"}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`((?:fleetgw|twistd) [^`]+)`")


class Block(NamedTuple):
    """A fenced block: its page, the number of its first line, its language, its text."""

    page: str
    line: int
    language: str
    text: str


class Command(NamedTuple):
    """A command line of a page, without its comment."""

    page: str
    line: int
    text: str


def blocks() -> Iterator[Block]:
    """Every fenced block."""
    for path in PAGES:
        page = path.read_text("utf-8")
        for found in _FENCE.finditer(page):
            text = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
            line = page.count("\n", 0, found.start()) + 2
            yield Block(path.relative_to(ROOT).as_posix(), line, found["language"], text)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a block: each line of ``sh``, each line with a prompt of ``console``; a backslash continues a line."""
    begun, number = "", 0
    for line, text in enumerate(block.text.splitlines(), block.line):
        if not begun:
            number = line
            if block.language == "console":
                if not text.startswith("$ "):
                    continue
                text = text.removeprefix("$ ")
        begun += text
        if begun.endswith("\\"):
            begun = f"{begun[:-1].rstrip()} "
            continue
        command = re.sub(r"(?:^|\s+)#\s.*$", "", begun)
        begun = ""
        if command:
            yield Command(block.page, number, command)


def all_commands() -> list[Command]:
    """The commands of every block of every page."""
    return [each for block in blocks() if block.language in {"sh", "console"} for each in commands(block)]


def inline_commands() -> list[Command]:
    """Commands in the text of the pages, such as ``fleetgw simulate --certs certs``."""
    found: list[Command] = []
    for path in PAGES:
        page = path.read_text("utf-8")
        text = _FENCE.sub(lambda each: "\n" * each[0].count("\n"), page)
        name = path.relative_to(ROOT).as_posix()
        found += [Command(name, text.count("\n", 0, each.start()) + 1, each[1]) for each in _INLINE.finditer(text)]
    return found


def calls(command: str, program: str) -> list[list[str]]:
    """The arguments of every call of a program in a command line: behind pipes and ``&&``, too."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    found: list[list[str]] = []
    words: list[str] | None = None
    start = True
    for word in lexer:
        if set(word) <= set("|&;"):
            words, start = None, True
        elif set(word) <= set("<>"):
            words, start = None, False
        elif start:
            words = [] if word.rpartition("/")[2] == program else None
            if words is not None:
                found.append(words)
            start = "=" in word and words is None  # a variable before the program
        elif words is not None:
            words.append(word)
    return found
