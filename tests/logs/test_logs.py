"""Log lines, their loss without a reader, and Twisted's own events."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from fleetgw.adapters.logs import json_text
from fleetgw.adapters.logs.json_text import LONG_BYTES
from fleetgw.adapters.logs.levels import LEVELS, Level
from fleetgw.adapters.logs.lines import JsonLog, LineLog, TextLog
from fleetgw.adapters.logs.null import NullLog
from fleetgw.adapters.logs.twisted_events import TwistedLogObserver
from fleetgw.domain.ports import ILog
from tests.support.log_contract import BrokenStream, LogContract, awkward_fields

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
EVERY_LEVEL = ("debug", "info", "warn", "error")


class JsonLogContractTests(LogContract, SynchronousTestCase):
    def make_log(self) -> ILog:
        return JsonLog(io.BytesIO(), Level.DEBUG)

    def make_broken_log(self) -> ILog:
        return JsonLog(BrokenStream(), Level.DEBUG)


class TextLogContractTests(LogContract, SynchronousTestCase):
    def make_log(self) -> ILog:
        return TextLog(io.BytesIO(), Level.DEBUG)

    def make_broken_log(self) -> ILog:
        return TextLog(BrokenStream(), Level.DEBUG)


class NullLogContractTests(LogContract, SynchronousTestCase):
    def make_log(self) -> ILog:
        return NullLog()

    make_broken_log = make_log


class ThresholdTests(SynchronousTestCase):
    def test_each_level_writes_itself_and_higher_levels(self) -> None:
        written = {}
        for name, level in LEVELS.items():
            stream = io.BytesIO()
            log = JsonLog(stream, level)
            for method in EVERY_LEVEL:
                getattr(log, method)(method)
            written[name] = [json.loads(line)["msg"] for line in stream.getvalue().splitlines()]
            self.assertEqual(log.debug_enabled, "debug" in written[name])
            self.assertEqual(log.info_enabled, "info" in written[name])
        every = list(EVERY_LEVEL)
        self.assertEqual(written, {"trace": every, "debug": every, "info": every[1:], "warn": every[2:], "error": every[3:]})


class LineTests(SynchronousTestCase):
    def line(self, log_type: type[LineLog], method: str, event: str, /, **fields: object) -> str:
        stream = io.BytesIO()
        clock = Clock()
        clock.advance(1764000000.9)
        getattr(log_type(stream, Level.DEBUG, clock.seconds), method)(event, **fields)
        text = stream.getvalue().decode()
        self.assertEqual(text.count("\n"), 1)
        self.assertTrue(text.endswith("\n"))
        return text.removesuffix("\n")

    def test_no_level_shows_a_password(self) -> None:
        """Client libraries quote the address that they could not reach."""
        for log_type in (JsonLog, TextLog):
            for method in ("debug", "info", "warn", "error"):
                line = self.line(log_type, method, "kinesis_err", error="cannot reach https://user:hunter2@host:1/ at all")
                self.assertNotIn("hunter2", line)
                self.assertIn("https://user:********@host:1/ at all", line)

    def test_no_field_that_quotes_a_library_shows_a_password(self) -> None:
        text = "Traceback:\n  File x\nConnectionError: redis://:hunter2@host:1 is away\n" + "a long line " * 1000
        for name in ("text", "traceback", "reason", "warning"):
            line = self.line(JsonLog, "error", "twisted_error", **{name: text})
            self.assertNotIn("hunter2", line)
            self.assertIn("redis://:********@host:1", line)

    def test_a_long_text_shows_no_secret(self) -> None:
        key = "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n"
        for secret in ("redis://:hunter2@host:1", key):
            line = self.line(JsonLog, "error", "twisted_error", error="long " * 450 + secret + " long" * 450)
            self.assertNotIn("hunter2", line)
            self.assertIn("********", line)

    def test_a_secret_at_the_cut_is_masked(self) -> None:
        """Wherever the cut is within it: each of two texts has it at another place."""
        key = "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * 100 + "-----END PRIVATE KEY-----\n"
        for secret in ("redis://user:hunter2@host:1", key):
            for at in range(4096 - len(secret), 4096 + 1, 13):
                for text in ("x " * (at // 2) + secret + " y" * 8000, "x " * 8000 + secret + " y" * (at // 2)):
                    self.assertNotIn("hunter2", self.line(JsonLog, "error", "twisted_error", error=text), f"{at}")

    def test_json_lines_of_the_go_server(self) -> None:
        """Lines written from the fields of the Go server's lines are the same."""
        for text in json.loads((VECTORS / "logger.json").read_text())["json_log_lines"]:
            expected = json.loads(re.sub(r"<(epoch_s|n)>", "17", text)) | {"time": "2025-11-24T16:00:00.900Z"}
            own = ("activity", "context", "level", "msg", "time")
            fields = {name: value for name, value in expected.items() if name not in own}
            line = self.line(JsonLog, expected["level"], expected["msg"], **fields)
            self.assertEqual(line, json.dumps(expected, sort_keys=True, separators=(",", ":"), ensure_ascii=False))

    def test_text_lines_of_the_go_server(self) -> None:
        """All except lines with Go's format of maps."""
        lines = json.loads((VECTORS / "logger.json").read_text())["text_log_lines_verbose"]
        uuid = "8183e8a3-4d5a-498f-b592-b748c490a2a7"
        compared = 0
        for expected in (line.replace("<uuid>", uuid) for line in lines):
            if "map[" in expected:
                continue
            compared += 1
            pairs = dict(re.findall(r'(\S+?)=("[^"]*"|\S*)', expected))
            fields = {
                name: int(value) if name in {"V", "alerts", "total", "duration_sec", "duration_ms"} else value.strip('"')
                for name, value in pairs.items()
                if name not in {"time", "level", "msg", "activity", "context"}
            }
            line = self.line(TextLog, pairs["level"], pairs["msg"], **fields)
            self.assertEqual(line, expected.replace("<time>", "2025-11-24T16:00:00Z"))
        self.assertGreater(compared, 5)

    def test_text_of_structures_is_json(self) -> None:
        line = self.line(TextLog, "warn", "e", data={"b": [1, None], "a": "x y"}, empty="", ok=True, quoted='a "b"')
        self.assertEqual(
            line,
            'time="2025-11-24T16:00:00Z" level=warning msg=e context=fleet-telemetry data={"a":"x y","b":[1,null]} '
            'empty= ok=true quoted="a \\"b\\""',
        )

    def test_awkward_fields_are_written(self) -> None:
        line = json.loads(self.line(JsonLog, "error", "e", **awkward_fields()))
        self.assertIn("no text for me", line.pop("unprintable"))
        self.assertIn("[...]", json.dumps(line.pop("endless")))
        self.assertEqual(
            line,
            {
                "context": "fleet-telemetry",
                "level": "error",
                "msg": "e",
                "time": "2025-11-24T16:00:00.900Z",
                "not_utf8": "\ufffd\ufffd ok",
                "nan": "NaN",
                "infinities": ["Infinity", {"deep": "-Infinity"}],
                "huge": 2**80,
                "keys": {"1": "a", "None": "b", "\ufffd": "c"},
                "error": "ValueError('x')",
                "bytes": "AP8=",
                "lines": "a\nb\r\n\x1b[31mc\u2028d",
                "nothing": None,
                "fields.msg": "mine",
                "fields.level": "mine",
                "fields.time": "mine",
                "fields.context": "mine",
                "fields.activity": "mine",
            },
        )

    def test_awkward_fields_stay_on_one_text_line(self) -> None:
        line = self.line(TextLog, "error", "e", **awkward_fields())
        self.assertIn(' nan="NaN" not_utf8="\ufffd\ufffd ok" ', line)
        self.assertNotIn("\x1b", line)

    def test_keys_cannot_look_like_other_fields(self) -> None:
        for key, written in {
            "a level=error msg=forged": "a\\u0020level\\u003derror\\u0020msg\\u003dforged",
            "two\nlines": "two\\u000alines",
            'a"b': "a\\u0022b",
            "a\\u0020b": "a\\u005cu0020b",
            "\x1b[31m": "\\u001b\\u005b31m",
            "\udcff": "\\udcff",
            "\U0001f697": "\\ud83d\\ude97",
            "": "(empty)",
            "plain_Key-1.2/3@x": "plain_Key-1.2/3@x",
        }.items():
            with self.subTest(key):
                line = self.line(TextLog, "warn", "e", **{key: 5})
                self.assertIn(f" {written}=5", line)
                self.assertEqual(len(line.split(" ")), 5)
                self.assertEqual(line.count("="), 5)

    def test_no_control_character_reaches_a_terminal(self) -> None:
        controls = [*range(0x20), *range(0x7F, 0xA0), 0x61C, *range(0x200B, 0x2010), *range(0x2028, 0x202F)]
        controls += [*range(0x2060, 0x2070), 0xFEFF]
        text = "".join(map(chr, controls)) + "äß☃🚗"
        for log_type in (JsonLog, TextLog):
            line = self.line(log_type, "error", "e", text=text, data={text: [text]}, **{text: "x"})
            self.assertEqual([hex(ord(each)) for each in line if ord(each) in controls], [])
            self.assertIn("äß☃🚗", line)
        line = self.line(JsonLog, "error", "e", text=text, data={text: [text]})
        self.assertEqual((json.loads(line)["text"], json.loads(line)["data"]), (text, {text: [text]}))

    def test_long_texts_with_control_characters_are_escaped_in_one_pass(self) -> None:
        """A pass per kind of character, or a call per character, would take half a second."""
        text = "".join(map(chr, [*range(0x7F, 0xA0), *range(0x2028, 0x202F)])) + 'ä"\\🚗'
        fields: dict[str, object] = {"data": {"Body": text * (LONG_BYTES // len(text)), "n": [math.nan, 1e300, 2**63, None]}}
        for log_type in (JsonLog, TextLog):
            with mock.patch.object(json_text, "_escape") as escape:
                line = self.line(log_type, "info", "record_payload", **fields)
            escape.assert_not_called()
            self.assertTrue(line.isascii())
            self.assertTrue(line.removesuffix("\n").isprintable())
        line = self.line(JsonLog, "info", "record_payload", **fields)
        self.assertEqual(
            json.loads(line)["data"], {"Body": text * (LONG_BYTES // len(text)), "n": ["NaN", 1e300, 2**63, None]}
        )

    def test_long_texts_are_cut(self) -> None:
        fields: dict[str, object] = {"txid": "a" * 1_000_000 + "end", "fits": "b" * 8192, "payload_base64": "c" * 1_000_000}
        fields["data"] = {"inside": "d" * 1_000_000}  # of the sink ``logger``
        for log_type in (JsonLog, TextLog):
            line = self.line(log_type, "error", "e", **fields)
            self.assertLess(len(line), 2_020_000)
            self.assertIn(" ... (991811 characters cut) ... ", line)
            for name in ("fits", "payload_base64"):
                self.assertIn(str(fields[name]), line)
            self.assertIn("d" * 1_000_000, line)
            self.assertIn("aaaend", line)

    def test_time_moves_on(self) -> None:
        stream, clock = io.BytesIO(), Clock()
        log = JsonLog(stream, Level.INFO, clock.seconds)
        for _ in range(3):
            log.info("e")
            clock.advance(0.6)
        times = [json.loads(line)["time"] for line in stream.getvalue().splitlines()]
        self.assertEqual(times, ["1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.600Z", "1970-01-01T00:00:01.200Z"])


class _Interrupted:
    """A stream that fails for a while."""

    def __init__(self) -> None:
        self.broken: type[Exception] | None = None
        self.lines: list[dict[str, Any]] = []

    def write(self, data: bytes) -> None:
        if self.broken is not None:
            raise self.broken
        self.lines.append(json.loads(data))


class LostLineTests(SynchronousTestCase):
    def test_lost_lines_are_counted_and_reported_to_the_next_reader(self) -> None:
        stream = _Interrupted()
        log = JsonLog(stream)
        for broken in (OSError, ValueError, BlockingIOError):
            stream.broken = broken
            log.info("lost")
        stream.broken = None
        log.info("one")
        log.info("two")
        self.assertEqual([line["msg"] for line in stream.lines], ["log_lines_lost", "one", "two"])
        self.assertEqual((stream.lines[0]["count"], stream.lines[0]["level"]), (3, "warning"))


class TwistedEventTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.stream = io.BytesIO()
        self.publisher = LogPublisher(TwistedLogObserver(JsonLog(self.stream, Level.DEBUG)))
        self.logger = Logger("here", observer=self.publisher)

    def lines(self) -> list[dict[str, Any]]:
        own = ("activity", "context", "time")
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [{name: value for name, value in line.items() if name not in own} for line in lines]

    def test_provides_the_interface(self) -> None:
        verifyObject(ILogObserver, TwistedLogObserver(NullLog()))

    def test_failure(self) -> None:
        try:
            raise RuntimeError("went wrong")
        except RuntimeError:
            self.logger.failure("while {what}", what="trying")
        (line,) = self.lines()
        traceback = line.pop("traceback")
        self.assertIn("RuntimeError: went wrong", traceback)
        self.assertIn("test_logs.py", traceback)
        self.assertEqual(
            line,
            {
                "level": "error",
                "msg": "twisted_error",
                "error": "went wrong",
                "text": "while trying",
                "system": "here",
            },
        )

    def test_levels(self) -> None:
        self.logger.critical("c")
        self.logger.error("e {n}", n=1)
        self.logger.warn("w")
        self.logger.info("i")
        self.logger.debug("d")
        self.assertEqual(
            self.lines(),
            [
                {"level": "error", "msg": "twisted_error", "error": "c", "system": "here"},
                {"level": "error", "msg": "twisted_error", "error": "e 1", "system": "here"},
                {"level": "warning", "msg": "twisted_warning", "text": "w", "system": "here"},
                {"level": "debug", "msg": "twisted_event", "text": "i", "system": "here"},
                {"level": "debug", "msg": "twisted_event", "text": "d", "system": "here"},
            ],
        )

    def test_an_event_without_the_usual_fields(self) -> None:
        TwistedLogObserver(JsonLog(self.stream, Level.DEBUG))({})
        self.assertEqual(self.lines(), [{"level": "debug", "msg": "twisted_event", "text": "", "system": ""}])

    def test_events_of_twisted_are_not_formatted_above_debug(self) -> None:
        asked = []

        class Unasked:
            def __str__(self) -> str:
                asked.append(self)
                return ""

        logger = Logger("here", observer=TwistedLogObserver(JsonLog(self.stream)))
        logger.info("{it}", it=Unasked())
        self.assertEqual((asked, self.lines()), ([], []))
