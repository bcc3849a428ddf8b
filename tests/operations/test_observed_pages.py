"""The pages of what operators observe: parameters, refusals, streams."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fleetgw.adapters.monitoring.pages import Answer, PageRefusal, PageRequest
from fleetgw.adapters.monitoring.streams import Stream
from fleetgw.app.operations.observed_pages import ObservedPages
from fleetgw.app.operations.tap import MAX_FILTERED, MAX_TAPS
from tests.support.observed_case import ObservedCase, Reader
from tests.support.session_case import VIN, message

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleetgw.adapters.monitoring.pages import Page


class ObservedPagesTests(ObservedCase):
    def setUp(self) -> None:
        super().setUp()
        self.vehicle_session = self.observed()
        self.pages = ObservedPages(self.views)

    def ask(self, page: Page, known: str = "", **query: str) -> tuple[int, Mapping[str, object]]:
        """Status code and JSON value of an answer; ``known`` is the vehicle in the path."""
        try:
            answer = page(PageRequest("GET", "/", {"vin": known}, query))
        except PageRefusal as refusal:
            return refusal.code, {"error": refusal.error, "fix": refusal.fix}
        assert isinstance(answer, Answer)
        return answer.code, json.loads(answer.body)

    def stream(self, page: Page, known: str = "", **query: str) -> Reader:
        """A reader that has subscribed."""
        stream = page(PageRequest("GET", "/", {"vin": known}, query))
        assert isinstance(stream, Stream)
        reader = Reader()
        self.addCleanup(stream.subscribe(reader))  # type: ignore[arg-type]  # a double
        return reader

    def test_answers(self) -> None:
        self.vehicle_session.received([message("V", b"1"), message("V", b"2", b"\xff")])
        pages = self.pages
        self.assertEqual(self.ask(pages.overview)[1]["vehicles"], {"connected": 1, "connections": 1, "paused": 0})
        self.assertEqual(self.ask(pages.vehicles)[1]["total"], 1)
        self.assertEqual(self.ask(pages.vehicles, search="none")[1]["total"], 0)
        self.assertEqual(self.ask(pages.vehicle, VIN)[1]["records_by_type"], {"V": 1})
        self.assertEqual(self.ask(pages.signals, top="1")[1]["total"], {"V": 2})
        refusals = self.ask(pages.refusals)[1]["refusals"]
        assert isinstance(refusals, list)
        (refused,) = refusals
        self.assertEqual((refused["kind"], refused["vin"], refused["issuer"]), ("message", VIN, None))

    def test_numbers_are_within_their_bounds_whatever_zeros_they_begin_with(self) -> None:
        for text in ("0000000019999999", "000000001" + "0" * 5000, "-1", "0", "1e3", "\u0661", ""):
            for page, name in ((self.pages.signals, "top"), (self.pages.vehicles, "limit")):
                code, answer = self.ask(page, **{name: text})
                self.assertEqual((code, name in str(answer["error"])), (400, True), text)

    def test_streams(self) -> None:
        readers = [
            self.stream(self.pages.overview_stream),
            self.stream(self.pages.vehicle_stream, VIN),
            self.stream(self.pages.tap, vin=f"{VIN}, OTHER", type="V", field="VehicleSpeed"),
        ]
        self.assertEqual([len(reader.chunks) for reader in readers], [1, 1, 0])

    def test_a_vehicle_that_is_not_known(self) -> None:
        for page in (self.pages.vehicle, self.pages.vehicle_stream):
            code, answer = self.ask(page, "\x1b" * 200)
            self.assertEqual((code, [*answer]), (404, ["error", "fix"]))
            self.assertLess(len(str(answer["error"])), 1000)

    def test_bad_numbers(self) -> None:
        for page, name in ((self.pages.vehicles, "limit"), (self.pages.signals, "top")):
            for text in ("0", "-1", "x", "", "1.5", "99999999", "٣", "9" * 5000):
                with self.subTest(name, text=text[:10]):
                    code, answer = self.ask(page, **{name: text})
                    self.assertEqual(code, 400)
                    self.assertIn("from 1 to 1000", str(answer["fix"]))

    def test_bad_filters(self) -> None:
        code, answer = self.ask(self.pages.tap, field="VehicleSpeeed")
        self.assertEqual((code, answer["fix"]), (400, 'did you mean "VehicleSpeed"?'))
        code, answer = self.ask(self.pages.tap, vin=",".join(map(str, range(MAX_FILTERED + 1))))
        self.assertEqual((code, answer["fix"]), (400, f"name at most {MAX_FILTERED} of each"))

    def test_too_many_taps(self) -> None:
        for _ in range(MAX_TAPS):
            self.stream(self.pages.tap)
        code, answer = self.ask(self.pages.tap)
        self.assertEqual((code, answer["error"]), (503, f"{MAX_TAPS} taps are open"))
