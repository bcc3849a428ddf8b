"""``fleetgw top``: the overview at several sizes, in a real terminal, as JSON, and while the gateway is away."""

from __future__ import annotations

import io
import json
import signal
import sys
from typing import Any
from unittest import TestCase, mock

from msgspec import convert
from rich.console import Console

from fleetgw.cli.overview import Overview
from fleetgw.cli.overview_screen import OverviewScreen
from tests.support import gateway_answers as answers
from tests.support.command_line import run
from tests.support.stub_status import TOKEN, Lines, Refused, StubStatus
from tests.support.terminal import Terminal

ONCE = """\
fleetgw 0.1.0  gateway-1  up 2 h 14 min  hot path in C                                                        ◐ degraded
kafka: not ready: broker-1:9092: Connection refused

records          403/s  ▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄▅▅▆▇▇█▄
acked            401/s  50% in 1.2 ms   90% in 3.4 ms   99% in 18 ms
vehicles         9,998  10,000 connections, 3 paused

sink   state                   lane         held  out/s  delivered  retried  dead letters
kafka  ○ not ready 1 min 35 s  ███████▍··  7,400      0  1,203,800      431             0
redis  ● ready 2 h 14 min      ··········     12    400  1,203,800        0             2
→ kafka: start the broker, or correct kafka.bootstrap.servers

type    received/s  acked/s   received      acked    signals
V              402      400  1,204,331  1,204,100  9,634,648
alerts         0.4      0.4      1,210      1,210      1,210

spool        700 MiB of 10 GiB  ▋·········  91,220 unread  full in 2 h 15 min
ledger       balanced, nothing lost, 219 awaiting, 8 unacked
refused      handshakes: expired 41, unknown ca 7; connections: full address 2
certificate  tls.server_cert expires soon, 19 days left
"""

NARROW = """\
fleetgw 0.1.0  gateway-1  up 2 h 14 min  hot path in C                ◐ degraded
kafka: not ready: broker-1:9092: Connection refused

                        ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█ ▂▃▄▅▇█
records          403/s  ████████████████████████████████████████████████████████
acked            401/s  50% in 1.2 ms   90% in 3.4 ms   99% in 18 ms
vehicles         9,998  10,000 connections, 3 paused

sink   state                   lane         held  out/s  delivered  dead
kafka  ○ not ready 1 min 35 s  ███████▍··  7,400      0  1,203,800     0
redis  ● ready 2 h 14 min      ··········     12    400  1,203,800     2
→ kafka: start the broker, or correct kafka.bootstrap.servers

type    received/s  acked/s   received      acked    signals
V              402      400  1,204,331  1,204,100  9,634,648
alerts         0.4      0.4      1,210      1,210      1,210

spool        700 MiB of 10 GiB  ▋·········  91,220 unread  full in 2 h 15 min
ledger       balanced, nothing lost, 219 awaiting, 8 unacked
refused      handshakes: expired 41, unknown ca 7; connections: full address 2
certificate  tls.server_cert expires soon, 19 days left


q quits
"""

HOSTILE = "x\x1b[2J[red]\x9b1m\u202e\r\n"


def drawn(overview: object, width: int, height: int, trouble: str | None = None) -> str:
    """The whole screen as text."""
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, highlight=False)
    console.print(OverviewScreen(convert(overview, Overview), is_full=True, trouble=trouble), end="")
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


class ScreenTests(TestCase):
    def test_the_size_of_a_terminal(self) -> None:
        self.assertEqual(drawn(answers.overview(), 80, 24), NARROW)

    def test_every_size_is_filled_exactly(self) -> None:
        many = answers.overview()
        many["sinks"] *= 20
        many["records"] *= 20
        many["certificates"] *= 5
        for overview in (answers.overview(), many):
            for width, height in ((20, 5), (40, 12), (80, 24), (140, 40), (200, 60), (300, 100)):
                with self.subTest(width=width, height=height):
                    lines = drawn(overview, width, height).splitlines()
                    self.assertEqual(len(lines), height)
                    self.assertLessEqual(max(map(len, lines)), width)
                    self.assertEqual(lines[-1], "q quits")

    def test_sinks_and_types_without_room_are_counted(self) -> None:
        many = answers.overview()
        many["sinks"] = [{**many["sinks"][1], "name": f"sink{index}"} for index in range(30)]
        many["records"] = [{**many["records"][0], "type": f"type{index}"} for index in range(30)]
        screen = drawn(many, 80, 24)
        self.assertRegex(screen, r"sink0 .*\n(sink\d .*\n)+2\d more lines\n\ntype .*\n(type\d .*\n)+2\d more lines\n\nspool")

    def test_a_tall_screen_has_a_tall_curve(self) -> None:
        lines = drawn(answers.overview(), 140, 40).splitlines()
        self.assertEqual([line.count("█") > 10 for line in lines[2:12]], [False, *[True] * 8, False])

    def test_long_reasons_and_remedies_go_on_in_further_lines(self) -> None:
        wordy = answers.overview()
        wordy["health"]["reasons"] = [f"the sink kafka is not ready: {'broker ' * 10}Connection refused"]
        wordy["sinks"][0]["fix"] = f"look {'well ' * 20}at the broker"
        screen = drawn(wordy, 80, 24)
        self.assertIn("Connection refused\n", screen)
        self.assertIn("at the broker\n", screen)
        wordy["health"]["reasons"] = ["word " * 1000]
        lines = drawn(wordy, 80, 24).splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("word")]), 3)

    def test_hardly_anything_is_known(self) -> None:
        least = {"version": "1", "now_ms": 0, "uptime_s": 0, "health": {"state": "starting"}}
        screen = drawn(least, 80, 24)
        self.assertIn("◐ starting", screen)
        self.assertIn("balanced, nothing lost", screen)
        self.assertIn("refused      nobody", screen)

    def test_trouble(self) -> None:
        screen = drawn(answers.overview(), 80, 24, "http://x cannot be asked")
        self.assertIn("○ no answer\nhttp://x cannot be asked; trying again\n", screen)

    def test_losses(self) -> None:
        lossy = answers.overview()
        lossy["ledger"] |= {"balanced": False, "lost": 2, "problems": ["V: off by +1"]}
        self.assertIn("LOST 2 records that had been acknowledged; V: off by +1", drawn(lossy, 120, 24))

    def test_hostile_text_does_not_reach_the_terminal(self) -> None:
        def spoilt(value: Any) -> Any:  # of any shape
            match value:
                case dict():
                    return {key if key in _KEYS else HOSTILE: spoilt(each) for key, each in value.items()}
                case list():
                    return [spoilt(each) for each in value]
            return HOSTILE if isinstance(value, str) else value

        screen = drawn(spoilt(answers.overview()), 200, 50)
        self.assertIn("[red]", screen)
        self.assertEqual([each for each in screen if not each.isprintable() and each != "\n"], [])


_KEYS = set(json.dumps(answers.overview()).replace('"', " ").split()) - {"expired", "unknown_ca", "full_address"}


class CommandTests(TestCase):
    def setUp(self) -> None:
        self.stub = StubStatus(self)
        self.stub.answers["/api/overview"] = answers.overview()

    def test_once(self) -> None:
        for arguments in (("--once",), ()):
            with self.subTest(arguments):
                self.assertEqual(run("top", "--url", self.stub.url, *arguments), (0, ONCE, ""))

    def test_json(self) -> None:
        status, out, error = run("top", "--url", self.stub.url, "--json", "--once")
        self.assertEqual((status, json.loads(out), error), (0, answers.overview(), ""))
        self.stub.answers["/api/overview/stream"] = Lines(['data: {"a": "\\u001b"}', "", 'data: {"a": 2}', ""])
        status, out, error = run("top", "--url", self.stub.url, "--json")
        self.assertEqual((status, out), (2, '{"a": "\\u001b"}\n{"a": 2}\n'))
        self.assertIn("has ended the stream", error)

    def test_answers_of_another_form(self) -> None:
        for answer in ([], {}, {"version": "1"}, {**answers.overview(), "sinks": {}}):
            with self.subTest(answer=str(answer)[:20]):
                self.stub.answers["/api/overview"] = answer
                status, _, error = run("top", "--url", self.stub.url, "--once")
                self.assertEqual((status, error.count("\n")), (2, 1))
                self.assertIn("answers in a form that this command does not know", error)

    def test_a_gateway_that_goes_away_is_asked_again(self) -> None:
        from fleetgw.cli.gateway_client import GatewayClient, GatewayError
        from fleetgw.cli.top import _looks

        self.stub.answers["/api/overview/stream"] = Lines(['data: {"a": 1}'])
        with mock.patch("fleetgw.cli.top.time.sleep") as sleep:
            looks = _looks(GatewayClient(self.stub.url))
            self.assertEqual(next(looks), ({"a": 1}, None))
            self.assertEqual(next(looks), (None, f"{self.stub.url} has ended the stream"))
            self.assertEqual(next(looks), ({"a": 1}, None))
            sleep.assert_called_once_with(2.0)
            next(looks)
            self.stub.answers["/api/overview/stream"] = "no events"
            self.assertEqual(next(looks), (None, f"{self.stub.url} has ended the stream"))
            self.stub.answers["/api/overview/stream"] = Refused(403)
            with self.assertRaises(GatewayError):
                next(looks)


class TerminalTests(TestCase):
    def setUp(self) -> None:
        self.stub = StubStatus(self)
        self.stub.answers["/api/overview"] = answers.overview()
        later = answers.overview() | {"host": "gateway-two"}
        self.stub.answers["/api/overview/stream"] = Lines([f"data: {json.dumps(later)}", ""], stays_open=True)

    def start(self, kind: str) -> None:
        """Start the command in a terminal of this kind."""
        code = "from fleetgw.cli import main; exit(main())"
        command = [sys.executable, "-c", code, "top", "--url", self.stub.url]
        self.terminal = Terminal(self, command, {"TERM": kind, "FLEETGW_TOKEN": TOKEN})

    def start_full(self) -> None:
        """Start it in a terminal that it fills, and wait for the second overview."""
        self.start("xterm-256color")
        self.terminal.read_until(b"gateway-two")

    def ended(self) -> tuple[int, bool]:
        """Its exit status, and whether the terminal is as before."""
        self.terminal.read_until(b"\x1b[?1049l")
        status = self.terminal.wait()
        output = self.terminal.output
        return status, output.rfind(b"\x1b[?25h") > output.rfind(b"\x1b[?25l") and self.terminal.is_as_before()

    def test_a_terminal_that_cannot_be_filled_gets_the_overview_once(self) -> None:
        self.start("dumb")
        self.terminal.read_until(b"tls.server_cert expires soon")
        self.assertEqual(self.terminal.wait(), 0)
        self.assertNotIn(b"\x1b", self.terminal.output)

    def test_keys_end_it(self) -> None:
        self.start_full()
        self.terminal.press(b"x\x1a")  # nothing, and Ctrl-Z
        self.terminal.press(b"q")
        self.assertEqual(self.ended(), (0, True))

    def test_ctrl_c_ends_it(self) -> None:
        self.start_full()
        self.terminal.press(b"\x03")
        self.assertEqual(self.ended(), (0, True))

    def test_signals_end_it(self) -> None:
        self.start_full()
        self.terminal.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.ended(), (143, True))
