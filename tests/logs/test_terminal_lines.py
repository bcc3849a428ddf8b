"""The log on a terminal: coloured lines, without what a vehicle could have a terminal execute."""

from __future__ import annotations

import io
import os
import pty
import re
from typing import TYPE_CHECKING

from twisted.trial.unittest import SynchronousTestCase

from fleetgw.adapters.logs.descriptor_stream import DescriptorStream
from fleetgw.adapters.logs.levels import Level
from fleetgw.adapters.logs.lines import JsonLog, LineLog, TextLog
from fleetgw.adapters.logs.terminal_lines import TerminalLog
from fleetgw.app.service.log_output import make_log
from tests.support.log_contract import BrokenStream, LogContract, awkward_fields

if TYPE_CHECKING:
    from fleetgw.domain.ports import ILog

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class TerminalLogContractTests(LogContract, SynchronousTestCase):
    def make_log(self) -> ILog:
        return TerminalLog(io.BytesIO(), Level.DEBUG)

    def make_broken_log(self) -> ILog:
        return TerminalLog(BrokenStream(), Level.DEBUG)


class LineTests(SynchronousTestCase):
    def line(self, method: str, event: str, /, **fields: object) -> str:
        stream = io.BytesIO()
        getattr(TerminalLog(stream, Level.DEBUG, lambda: 1764000000.9), method)(event, **fields)
        return stream.getvalue().decode()

    def test_a_line(self) -> None:
        line = self.line("info", "socket_connected", device_id="5YJ3E1EA7KF000001", user_agent="a b")
        self.assertEqual(
            COLOUR.sub("", line), '16:00:00Z info  socket_connected device_id=5YJ3E1EA7KF000001 user_agent="a b"\n'
        )

    def test_each_level_has_a_colour_of_its_own(self) -> None:
        starts = {self.line(method, "e").split("Z")[1].split(" ")[1] for method in ("debug", "info", "warn", "error")}
        self.assertEqual(len(starts), 4)

    def test_every_colour_ends(self) -> None:
        for method in ("info", "error"):
            line = self.line(method, "e", error="no", other=[1])
            codes = COLOUR.findall(line)
            self.assertEqual(codes[1::2], ["\x1b[0m"] * (len(codes) // 2))

    def test_no_value_and_no_key_reaches_the_terminal_as_a_control(self) -> None:
        hostile = "\x1b[2J\x9b31m\x07\x08\r\n\u202e"
        line = self.line(
            "error",
            hostile,
            **{hostile: hostile, "error": hostile, "deep": [{hostile: hostile}]},
            **awkward_fields_but_error(),
        )
        plain = COLOUR.sub("", line)
        self.assertEqual(plain.count("\n"), 1)
        self.assertTrue(plain.removesuffix("\n").isprintable(), plain)
        with_plain_values = self.line(
            "error", "e", **dict.fromkeys(("a", "error", "deep", *awkward_fields_but_error()), "x")
        )
        self.assertEqual(len(COLOUR.findall(line)), len(COLOUR.findall(with_plain_values)))


def awkward_fields_but_error() -> dict[str, object]:
    return {name: value for name, value in awkward_fields().items() if name != "error"}


class ChoiceTests(SynchronousTestCase):
    def made(self, descriptor: int, environ: dict[str, str] | None = None, *, json: bool = False) -> type[LineLog]:
        return type(make_log("info", json_log_enable=json, stream=DescriptorStream(descriptor), environ=environ or {}))

    def test_colour_on_a_terminal_alone(self) -> None:
        master, terminal = pty.openpty()
        read, write = os.pipe()
        for descriptor in (master, terminal, read, write):
            self.addCleanup(os.close, descriptor)
        self.assertIs(self.made(terminal), TerminalLog)
        self.assertIs(self.made(terminal, {"NO_COLOR": "1"}), TextLog)
        self.assertIs(self.made(terminal, {"NO_COLOR": ""}), TerminalLog)
        self.assertIs(self.made(terminal, json=True), JsonLog)
        self.assertIs(self.made(write), TextLog)
