"""The resources that each built-in sink holds exclusively, by its settings: a second gateway must not have the same."""

from pathlib import Path
from typing import Any
from unittest import TestCase

import msgspec

from fleetgw.adapters.sinks.registry import built_in_sinks
from fleetgw.adapters.sinks.sink_type import Exclusive


def holdings() -> dict[str, list[tuple[dict[str, Any], list[Exclusive]]]]:
    """Sections of each sink, and the resources that they hold; made in the working directory of the test."""
    return {
        "embedded": [({}, [])],
        "kafka": [({"bootstrap.servers": "b:9092", "client.id": "a"}, [])],  # any number of producers may share an id
        "kinesis": [({}, [])],
        "logger": [({}, [])],
        "memory": [({}, [])],
        "mqtt": [
            ({"broker": "b:1883"}, []),  # the broker chooses the client id
            ({"broker": "b:1883", "client_id": "a"}, [Exclusive("client id", "a at b:1883")]),
        ],
        "pubsub": [({}, [])],
        "redis": [({}, [])],
        "sqlite": [
            ({}, [Exclusive("file", str(Path("fleetgw.sqlite3").absolute()))]),
            ({"path": Path("/var/a.db")}, [Exclusive("file", "/var/a.db")]),
        ],
        "zmq": [
            ({"addr": "tcp://*:5284"}, [Exclusive("address", "tcp://*:5284")]),
            ({"addr": "ipc:///run/a"}, [Exclusive("address", "ipc:///run/a")]),
            ({"addr": "tcp://127.0.0.1:*"}, []),  # any free port
            ({"addr": "tcp://127.0.0.1:0"}, []),
        ],
    }


class ExclusiveTests(TestCase):
    def test_every_sink_names_its_own(self) -> None:
        self.assertEqual(holdings().keys(), built_in_sinks().keys())
        for name, cases in holdings().items():
            sink = built_in_sinks()[name]
            for settings, held in cases:
                with self.subTest(name, settings=settings):
                    is_section = isinstance(sink.settings, type) and issubclass(sink.settings, msgspec.Struct)
                    section = sink.settings(**settings) if is_section else settings
                    self.assertEqual([*sink.holds(section)], held)
