"""The names of the sources, as they are logged and shown."""

from typing import Any
from unittest import TestCase

from twisted.internet.testing import MemoryReactorClock

from fleetgw.app.config.vehicles import Allow, AllowRedis
from fleetgw.app.service.allow_list_maker import make_source


class NameTests(TestCase):
    def test_no_secret_is_shown(self) -> None:
        reactor: Any = MemoryReactorClock()
        for allow, name in (
            (
                Allow(url="https://fleet.example/vins?fleet=a&api_key=hunter2"),
                "https://fleet.example/vins?fleet=a&api_key=********",
            ),
            (
                Allow(redis=AllowRedis(address="host:6379", key="fleet:vins", password="hunter2")),
                "redis://host:6379/0 fleet:vins",
            ),
        ):
            self.assertEqual(make_source(allow, reactor).name, name)
