"""Any value in a configuration is accepted, or refused with its problems; no other exception is raised."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.app.config import effective_config, render_problems
from fleetgw.app.config.sections import Config
from fleetgw.domain.errors import ConfigurationError
from tests.support.config_case import ConfigCase

EVERY_SECTION: dict[str, Any] = {  # whatever JSON holds
    "host": "127.0.0.1",
    "namespace": "n",
    "records": {"V": ["kafka", "redis", "mqtt", "zmq", "pubsub", "kinesis", "mine"], "alerts": ["logger"]},
    "reliable_ack_sources": {"V": "kafka"},
    "kafka": {"bootstrap.servers": "k:1", "sasl.password": {"env": "PW"}},
    "redis": {"addrs": ["r:1"], "publish_vin_topics": True, "tls": {"ca_file": "ca.crt"}, "pool": {"pool_size": 1}},
    "mqtt": {"broker": "m:1", "topic_base": "t"},
    "zmq": {"addr": "tcp://*:1"},
    "pubsub": {"gcp_project_id": "p"},
    "kinesis": {"streams": {"V": "s"}},
    "airbrake": {"tls": {"ca_file": "ca.crt"}},
    "monitoring": {"prometheus_metrics_port": 9273, "statsd": {"host": "s:1"}},
    "dispatchers": {"mine": {"class": "tests.support.free_form_sink:SINK", "settings": {"key": {"env": "PW"}}}},
    "delivery": {"sinks": {"kafka": {"batch_records": 1}}},
    "identity": {"issuers": {"X": {"by_extended_key_usage": True}, "Y": "vehicle_device"}},
    "limits": {},
    "rate_limit": {"enabled": True, "message_limit": 1},
    "vins_signal_tracking_enabled": ["VIN"],
}

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
VALUES = st.recursive(
    ATOMS | st.sampled_from(["", "kafka", "V", {"env": "PW"}, {"file": "none"}, [], {}]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # of keys and indices
    """The path of every value within ``value``."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, each in items for place in [(*path, key), *places(each, (*path, key))]]


class AnyValueTests(ConfigCase):
    def test_the_configuration_itself_is_accepted(self) -> None:
        self.load(environ={"PW": "pw"}, **EVERY_SECTION)

    @settings(max_examples=150)
    @given(changes=st.lists(st.tuples(st.integers(0, 10_000), VALUES), min_size=1, max_size=3))
    def test_any_value_anywhere(self, changes: list[tuple[int, Any]]) -> None:  # whatever JSON holds
        tree = json.loads(self.text(**EVERY_SECTION))
        for number, value in changes:
            *within, last = (where := places(tree))[number % len(where)]
            inner = tree
            for key in within:
                inner = inner[key]
            inner[last] = deepcopy(value)  # or two places would share one list, and the next change make it endless
        try:
            loaded = self.load(json.dumps(tree), {"PW": "pw"})
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            self.assertEqual(len(render_problems(error.problems).splitlines()), len(error.problems))
        else:
            self.assertIsInstance(loaded.config, Config)
            json.dumps(effective_config(loaded.config))
