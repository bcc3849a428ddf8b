"""``fleetgw trace`` against a stub of the status service: begin, join, follow, list, show, end; and what may be wrong."""

from __future__ import annotations

import json
from typing import Any
from unittest import TestCase, mock

from fleetgw.cli import trace_actions as trace
from tests.support.command_line import run
from tests.support.stub_status import TOKEN, Asked, Refused, StubStatus

VIN = "5YJ3E1EA7KF000001"
STARTED_MS = 1_800_000_000_000


def shown(number: int = 1, *, is_on: bool = True, **members: object) -> dict[str, object]:
    """A trace, as the gateway lists it."""
    return {
        "id": number,
        "vin": None,
        "ip": "203.0.113.9",
        "started_ms": STARTED_MS,
        "until_ms": STARTED_MS + 3_600_000,
        "is_on": is_on,
        "next_line": 3,
        "size_bytes": 1234,
        "dropped_lines": 0,
    } | members


def lines(*numbers: int, text: str = "a socket was accepted") -> str:
    """Lines of a trace."""
    return "".join(
        json.dumps({"n": n, "at_ms": STARTED_MS, "connection": "203.0.113.9:1", "stage": "accepted", "text": text}) + "\n"
        for n in numbers
    )


class Script:
    """Different answers for one path, one for each request; the last one again and again."""

    def __init__(self, *answers: object) -> None:
        self.answers = [*answers]


class ScriptedAnswers(dict[str, object]):
    """Answers by path, of which some are scripts."""

    def get(self, path: str, otherwise: object = None) -> object:  # type: ignore[override]  # of the one form that is used
        answer = super().get(path, otherwise)
        if isinstance(answer, Script):
            return answer.answers.pop(0) if len(answer.answers) > 1 else answer.answers[0]
        return answer


class TraceTests(TestCase):
    def setUp(self) -> None:
        self.stub = StubStatus(self)
        self.stub.answers = ScriptedAnswers()
        self.enterContext(mock.patch.dict("os.environ", {"FLEETGW_TOKEN": TOKEN}))
        self.enterContext(mock.patch.object(trace, "_POLL_S", 0.0))

    def trace(self, *arguments: object) -> tuple[int | str | None, str, str]:
        """Run the command."""
        return run("trace", "--url", self.stub.url, *arguments)

    def begin(self, *texts: object, **members: object) -> None:
        """Have the gateway begin a trace that has these lines, and then end."""
        self.stub.answers["/api/traces"] = Script(shown(**members), {"traces": [shown(is_on=False, **members)]})
        self.stub.answers["/api/traces/1"] = Script(*texts, "")

    def test_following_until_the_end(self) -> None:
        self.begin(lines(1, 2), lines(3))
        status, out, said = self.trace("--ip", "203.0.113.9", "--for", "10m")
        self.assertEqual((status, out.count("\n")), (0, 3), said)
        self.assertRegex(out.splitlines()[0], r"^2027-01-15 [\d:.]+  203.0.113.9:1 +  accepted +  a socket was accepted$")
        self.assertIn("trace 1 follows 203.0.113.9 until", said)
        self.assertIn("leaves it running", said)
        self.assertIn("trace 1 has ended", said)
        self.assertEqual(self.stub.asked[0], Asked("POST", "/api/traces", {}, {"ip": "203.0.113.9", "for_s": 600.0}))
        froms = [asked.query["from"] for asked in self.stub.asked if asked.path == "/api/traces/1"]
        self.assertEqual(froms, ["1", "3", "4"])

    def test_joining_shows_the_last_lines(self) -> None:
        self.begin("", next_line=1000)
        self.trace("--vin", VIN)
        self.assertEqual(self.stub.asked[0].body, {"vin": VIN, "for_s": 3600.0})
        (asked,) = [each for each in self.stub.asked if each.path == "/api/traces/1"]
        self.assertEqual(asked.query["from"], "980")

    def test_json(self) -> None:
        self.begin(lines(1, text="\u001b[31m\u202e"))
        _, out, _ = self.trace("--ip", "203.0.113.9", "--json")
        self.assertEqual(json.loads(out)["text"], "\u001b[31m\u202e")
        self.assertTrue(out.isascii())

    def test_text_of_strangers_is_escaped(self) -> None:
        self.begin(lines(1, text="\u001b[31mred\u202e\n"))
        _, out, _ = self.trace("--ip", "203.0.113.9")
        self.assertIn(r"\u001b[31mred\u202e\n", out)

    def test_recent_refusals_come_first(self) -> None:
        refusal = {"at_ms": STARTED_MS, "kind": "handshake", "reason": "x", "text": "expired", "fix": "renew it", "vin": ""}
        refusals = [refusal | {"address": address} for address in ("203.0.113.9:5", "203.0.113.90:5", "")]
        self.stub.answers["/api/refusals"] = {"refusals": refusals}
        self.begin(lines(1))
        _, _, said = self.trace("--ip", "203.0.113.9")
        self.assertEqual(said.count("refused before"), 1)
        self.assertIn("203.0.113.9:5: expired; renew it", said)
        refusals[:] = [refusal | {"vin": VIN}, refusal | {"text": f'the certificate of "{VIN}" expired'}, refusal]
        self.begin(lines(1), vin=VIN, ip=None)
        self.assertEqual(self.trace("--vin", VIN)[2].count("refused before"), 2)

    def test_interruption_leaves_the_trace_running(self) -> None:
        self.begin(lines(1))
        with mock.patch.object(trace.time, "sleep", side_effect=KeyboardInterrupt):
            status, _, said = self.trace("--ip", "203.0.113.9")
        self.assertEqual(status, 0)
        self.assertIn("goes on until", said)
        self.assertIn("fleetgw trace stop 1 ends it", said)
        self.assertEqual([asked.method for asked in self.stub.asked].count("POST"), 1)

    def test_interruption_with_stop_ends_it(self) -> None:
        self.begin(lines(1), shown(is_on=False))
        with mock.patch.object(trace.time, "sleep", side_effect=KeyboardInterrupt):
            status, _, said = self.trace("--ip", "203.0.113.9", "--stop")
        self.assertEqual(status, 0)
        self.assertIn("Ctrl-C ends it", said)
        self.assertIn(Asked("POST", "/api/traces/1", {}, {"for_s": 0}), self.stub.asked)

    def test_a_quiet_address_gets_a_hint(self) -> None:
        self.stub.answers["/api/traces"] = Script(shown(), *[{"traces": [shown()]}] * 5, {"traces": []})
        self.stub.answers["/api/traces/1"] = ""
        with mock.patch.object(trace, "_QUIET_S", 0.0):
            _, _, said = self.trace("--ip", "203.0.113.9")
        self.assertEqual(said.count("nothing has come from 203.0.113.9"), 1)

    def test_a_gateway_that_starts_anew_is_waited_for(self) -> None:
        self.begin(lines(1), lines(2))
        real, away = trace._text, [trace.GatewayError("gone"), trace.GatewayError("gone")]

        def fail_twice(*arguments: Any) -> Any:
            if arguments[2] == 2 and away:
                raise away.pop()
            return real(*arguments)

        with mock.patch.object(trace, "_text", fail_twice):
            status, out, said = self.trace("--ip", "203.0.113.9")
        self.assertEqual((status, out.count("accepted  "), said.count("waiting for it")), (0, 2, 1))

    def test_the_traces_that_are_kept(self) -> None:
        self.stub.answers["/api/traces"] = {"traces": [shown(), shown(12, is_on=False, vin=VIN, ip=None)]}
        _, out, _ = self.trace("list")
        self.assertRegex(out.splitlines()[0], r"^  1  203\.0\.113\.9 .* until .* 2 lines, 1,234 bytes$")
        self.assertRegex(out.splitlines()[1], rf"^ 12  {VIN} .* ended ")
        self.assertEqual(len(self.trace("list", "--json")[1].splitlines()), 2)
        self.stub.answers["/api/traces"] = {"traces": []}
        self.assertIn("no trace is kept", self.trace("list")[1])

    def test_showing_and_ending(self) -> None:
        self.stub.answers["/api/traces/1"] = Script(lines(1, 2), lines(3), "")
        self.assertEqual(self.trace("show", 1)[1].count("\n"), 3)
        self.stub.answers["/api/traces/1"] = shown(is_on=False)
        self.assertEqual(self.trace("stop", 1)[0], 0)
        self.assertEqual(self.trace("remove", 1)[0], 0)
        self.assertEqual([asked.method for asked in self.stub.asked[-2:]], ["POST", "DELETE"])
        self.assertEqual(json.loads(self.trace("stop", 1, "--json")[1]), shown(is_on=False))
        self.assertEqual(self.trace("remove", 1, "--json")[:2], (0, ""))

    def test_wrong_arguments(self) -> None:
        for arguments in (
            (),
            ("--vin", "a", "--ip", "b"),
            ("list", "--vin", "a"),
            ("show",),
            ("show", "x"),
            ("stop", "-1"),
            ("--vin", "a", "--for", "soon"),
            ("--vin", "a", "--for", "0s"),
            ("fly", "1"),
        ):
            status, _, said = self.trace(*arguments)
            self.assertEqual(status, 2, arguments)
            self.assertIn("fleetgw trace: error:", said)

    def test_a_gateway_that_refuses(self) -> None:
        self.stub.answers["/api/traces"] = Refused(409, {"error": "10 traces are on", "fix": "end one"})
        status, _, said = self.trace("--vin", VIN)
        self.assertEqual((status, said.count("\n")), (2, 1))
        self.assertIn("10 traces are on; end one", said)
        self.begin("no line of a trace\n")
        status, _, said = self.trace("--vin", VIN)
        self.assertEqual(status, 2)
        self.assertIn("answers in a form that this command does not know", said)
        self.stub.answers["/api/traces"] = {"id": 1}
        self.assertEqual(self.trace("--vin", VIN)[0], 2)
        self.assertEqual(self.trace("list")[0], 2)
