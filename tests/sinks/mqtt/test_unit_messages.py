"""Records as MQTT messages: the Go server's cases, and the listed differences."""

import json
from pathlib import Path
from typing import Any
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.adapters.codec.datum import READERS
from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.sinks.mqtt.json_text import json_text
from fleetgw.adapters.sinks.mqtt.messages import _READERS, MessageWriter
from fleetgw.domain.errors import Rejected
from fleetgw.testing.sink_doubles import make_record
from tests.support.record_vectors import record_of

VECTORS = Path(__file__).parents[2] / "vectors"
CASES = json.loads((VECTORS / "mqtt.json").read_text())["cases"]
DIFFERENCES = {case["name"]: case for case in json.loads((VECTORS / "mqtt_differences.json").read_text())["cases"]}

Publishes = list[list[str]]


def publishes_of(case: dict[str, Any]) -> Publishes | None:
    """None when the record cannot be published."""
    try:
        messages = MessageWriter(case["topic_base"]).messages(record_of(case))
    except Rejected:
        return None
    return [[message.topic.decode(), message.body.decode()] for message in messages]


def in_order(case: dict[str, Any], publishes: Publishes | None) -> Publishes | None:
    """Only messages of errors have an order: the Go server publishes the others in random order."""
    return publishes if publishes is None or case["type"] == "errors" else sorted(publishes)


class GoServerVectorTests(TestCase):
    def test_publishes(self) -> None:
        wrong = []
        for case in CASES:
            ours = in_order(case, publishes_of(case))
            theirs = in_order(case, case.get("publishes"))
            listed = DIFFERENCES.get(case["name"])
            if listed is None and ours != theirs:
                wrong.append((case["name"], ours, theirs))
            elif listed is not None and (ours == theirs or ours != listed["publishes"]):
                wrong.append((case["name"], ours, "listed as a difference"))
        self.assertEqual(wrong, [])
        self.assertEqual(len(CASES), 462)

    def test_every_listed_difference_is_a_case_with_a_reason(self) -> None:
        self.assertEqual(set(DIFFERENCES) - {case["name"] for case in CASES}, set())
        self.assertEqual([name for name, case in DIFFERENCES.items() if not case["reason"]], [])


class MessageTests(TestCase):
    def test_every_case_of_value_has_a_reader(self) -> None:
        self.assertEqual({field.name for field in Value.DESCRIPTOR.oneofs_by_name["value"].fields}, set(_READERS))
        self.assertLessEqual(set(READERS), set(_READERS))

    def test_characters_that_are_replaced_in_topics(self) -> None:
        """MQTT 3.1.1, 3.3.2.1 and 1.5.3: wildcards, control characters, surrogates, non-characters."""
        unwanted = "+#\0\x01\t\n\x1f\x7f\x80\x9f\ufdd0\ufdef\ufffe\uffff\U0001fffe\U0001ffff\U0010fffe\U0010ffff"
        replaced = b"_" * len(unwanted)
        alerts = VehicleAlerts(alerts=[VehicleAlert(name=f"a{unwanted}b")])
        record = make_record(f"V{unwanted}\ud800\udfff", record_type="alerts", content=alerts)
        self.assertEqual(
            MessageWriter("t").messages(record)[0].topic, b"t/V" + replaced + b"__/alerts/a" + replaced + b"b/history"
        )
        errors = VehicleErrors(errors=[VehicleError(name=f"a{unwanted}b")])
        record = make_record("VIN", record_type="errors", content=errors)
        self.assertEqual(MessageWriter("t").messages(record)[0].topic, b"t/VIN/errors/a" + replaced + b"b")

    def test_characters_that_stay_in_topics(self) -> None:
        """Also an empty level, or one that begins with $: only the first character of a topic has a meaning to a broker."""
        for name in ("", "a/b", "$SYS", " ~\xa0é", "\ud7ff\ue000\ufdcf\ufdf0\ufffd\U00010000\U0001fffd\U0010fffd"):
            errors = VehicleErrors(errors=[VehicleError(name=name)])
            record = make_record("VIN", record_type="errors", content=errors)
            self.assertEqual(MessageWriter("t").messages(record)[0].topic.decode(), f"t/VIN/errors/{name}")

    def test_a_topic_that_is_too_long_is_rejected(self) -> None:
        record = make_record(record_type="errors", content=VehicleErrors(errors=[VehicleError(name="a" * 65_536)]))
        with self.assertRaisesRegex(Rejected, "MQTT allows 65535"):
            MessageWriter("t").messages(record)

    def test_the_error_of_a_custom_type_names_the_valid_types(self) -> None:
        with self.assertRaisesRegex(Rejected, "route V, alerts, errors, connectivity or gateway_status"):
            MessageWriter("t").messages(make_record(record_type="mine"))

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**53), 2**53)
            | st.text()
            | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=6,
        )
    )
    def test_json_text_is_the_value(self, value: Any) -> None:  # whatever JSON holds
        text = json_text(value)
        self.assertEqual(json.loads(text, parse_int=float), value)
        self.assertFalse(set(text) & set("<>&\u2028\u2029"))
