"""The table of the status port's paths in docs/status-port.md agrees with the routes."""

import re
from pathlib import Path
from unittest import TestCase, mock

from fleetgw.adapters.monitoring.pages import Access
from fleetgw.app.operations.api import operator_routes

PAGE = (Path(__file__).parent.parent / "docs/status-port.md").read_text("utf-8")
NEEDS = {"nothing": Access.PROBE, "this machine or a listed host": Access.OPERATOR, "the token": Access.TOKEN}


class PathTests(TestCase):
    def test_every_path_with_what_it_needs(self) -> None:
        table = PAGE.partition("| path | content | needs |")[2].partition("\n\n")[0]
        documented = {}
        for line in table.splitlines()[2:]:
            paths, *_, needs = line.strip("| ").split(" | ")
            for path in re.findall(r"`([^`]+)`", paths):
                pattern, _, query = path.partition("?")
                documented[pattern, query == "verbose"] = NEEDS[needs]
        served = {(each.pattern, bool(each.parameter)): each.access for each in operator_routes(mock.Mock())}
        self.assertEqual(documented, served | {("/", False): Access.OPERATOR})
