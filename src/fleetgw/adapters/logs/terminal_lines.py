"""A log for a terminal: short lines in colour."""

from __future__ import annotations

from fleetgw.adapters.logs.lines import CONSTANT_MEMBERS, LineLog, key_text, value_text

_DIM, _BOLD, _RED, _END = "\x1b[2m", "\x1b[1m", "\x1b[31m", "\x1b[0m"

_LEVELS = {
    "debug": "\x1b[2mdebug",
    "info": "\x1b[32minfo ",
    "warning": "\x1b[33mwarn ",
    "error": "\x1b[1;31merror",
}
"""Start of the colour and name of each level, by its text in other forms."""


class TerminalLog(LineLog):
    """Lines for people in front of a terminal: time of day (UTC), level, event, then the event's fields, keys sorted.

    Keys and values are written as ``TextLog`` writes them, so that no value holds an escape sequence; the members that are
    the same in every line are left out. All colours are those of the terminal's own palette.
    """

    def _time(self, now_s: float) -> str:
        return f"{self._to_the_second(now_s)[-8:]}Z"

    def _line(self, members: dict[str, object]) -> bytes:
        head = (
            f"{_DIM}{members['time']}{_END} {_LEVELS[str(members['level'])]}{_END} {_BOLD}{value_text(members['msg'])}{_END}"
        )
        fields = [_field(name, members[name]) for name in sorted(members.keys() - CONSTANT_MEMBERS)]
        return " ".join([head, *fields]).encode() + b"\n"


def _field(name: str, value: object) -> str:
    text = value_text(value)
    if name == "error":
        text = f"{_RED}{text}{_END}"
    return f"{_DIM}{key_text(name)}={_END}{text}"
