"""Bounds on the messages of one record, and on the messages made in one turn of the reactor."""

import json
from unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_alert_pb2 import VehicleAlert, VehicleAlerts
from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Datum, Payload, Value
from fleetgw.adapters.codec.generated.vehicle_error_pb2 import VehicleError, VehicleErrors
from fleetgw.adapters.sinks.mqtt import messages, topics, window
from fleetgw.adapters.sinks.mqtt.json_text import json_text
from fleetgw.adapters.sinks.mqtt.messages import Message, MessageWriter
from fleetgw.domain.errors import Rejected
from fleetgw.domain.ports import RECEIPT
from fleetgw.testing.sink_doubles import make_record
from tests.sinks.mqtt.test_unit_sink import VIN, MqttCase
from tests.support.mqtt.harness import make_mqtt_record

Content = Payload | VehicleAlerts | VehicleErrors


def made(content: Content) -> list[Message]:
    record = make_record(VIN, payload=content.SerializeToString(), content=content)
    return list(MessageWriter("t").messages(record))


class RecordTests(TestCase):
    def refused(self, content: Content, words: str) -> None:
        with self.assertRaisesRegex(Rejected, words):
            made(content)

    def test_elements_of_one_record(self) -> None:
        """One element above the bound is rejected, and the error names the kind of element; the bound itself passes."""
        most = messages.MESSAGES_LIMIT
        value = Value(int_value=1)
        signals = [Datum(key=key, value=value) for key in range(1_000, 1_001 + most)]
        self.assertEqual(len(made(Payload(data=signals[:most]))), most)
        self.refused(Payload(data=signals), f"{most + 1} signals.*{most}")
        made(VehicleAlerts(alerts=[VehicleAlert(name="a", audiences=[1] * (most - 1))]))
        self.refused(VehicleAlerts(alerts=[VehicleAlert(name="a", audiences=[1] * most)]), "audiences")
        self.refused(VehicleAlerts(alerts=[VehicleAlert(name="a", audiences=[1] * 500)] * 20), "audiences")
        tags = {str(number): "" for number in range(most)}
        self.refused(VehicleErrors(errors=[VehicleError(name="e", tags=tags)]), "errors and tags")

    def test_alerts_and_errors_of_one_record(self) -> None:
        most = messages.NAMED_LIMIT
        alerts = [VehicleAlert(name=str(number)) for number in range(most + 1)]
        self.assertEqual(len(made(VehicleAlerts(alerts=alerts[:most]))), most)
        self.refused(VehicleAlerts(alerts=alerts), "1001 alerts")
        self.refused(VehicleErrors(errors=[VehicleError(name="e")] * (most + 1)), "1001 errors")

    def test_bytes_of_one_record(self) -> None:
        """Bytes of the written JSON count, with its escapes."""
        size = messages.MESSAGES_SIZE_LIMIT_BYTES
        self.assertEqual(len(made(VehicleErrors(errors=[VehicleError(name="e", body="x" * (size - 1_000))]))), 1)
        for content in (
            VehicleErrors(errors=[VehicleError(name="e", body="x" * size)]),
            VehicleErrors(errors=[VehicleError(name="e", body="<" * (size // 6))]),
            VehicleErrors(errors=[VehicleError(name=str(number), body="x" * 300_000) for number in range(8)]),
            Payload(data=[Datum(key=8, value=Value(string_value="&" * (size // 6)))]),
        ):
            self.refused(content, f"larger than {size} bytes")

    def test_an_error_with_a_large_body_passes(self) -> None:
        (message,) = made(VehicleErrors(errors=[VehicleError(name="e", body="x" * 900_000)]))
        self.assertEqual(json.loads(message.body)["Body"], "x" * 900_000)

    def test_names(self) -> None:
        """Levels and bytes of names sent by a vehicle; of replaced characters the replacements count."""
        levels, size = topics.NAME_LEVELS_LIMIT, topics.NAME_SIZE_LIMIT_BYTES
        for name, words in (
            ("a/" * (levels - 1), None),
            ("a/" * levels, "levels"),
            ("/" * 900_000, "levels"),
            ("a" * size, None),
            ("+" * size, None),
            ("é" * (size // 2), None),
            ("a" * (size + 1), "too long"),
            ("é" * (size // 2 + 1), "too long"),
        ):
            for content in (
                VehicleAlerts(alerts=[VehicleAlert(name=name)]),
                VehicleErrors(errors=[VehicleError(name=name)]),
            ):
                with self.subTest(name=name[:40], size=len(name)):
                    if words is None:
                        self.assertEqual(len(made(content)), 1)
                    else:
                        self.refused(content, words)

    def test_the_error_has_only_the_start_of_the_name(self) -> None:
        with self.assertRaises(Rejected) as caught:
            made(VehicleErrors(errors=[VehicleError(name="a" * 900_000)]))
        self.assertLess(len(str(caught.exception)), 200)

    def test_escapes_are_the_same_for_long_texts(self) -> None:
        text = '<>&\u2028\u2029\\u003c"\n' * 3
        self.assertEqual(json.loads(json_text(text)), text)
        self.assertIn("\\u003c\\u003e\\u0026\\u2028\\u2029", json_text(text))


class TurnTests(MqttCase):
    def test_messages_are_made_in_several_turns(self) -> None:
        """One turn makes messages of bounded size, for many records as for large ones."""
        for size, count in ((10, 20_000), (5_000, 400), (100_000, 50)):
            with self.subTest(size=size):
                sink = self.started(publish_timeout_ms=60_000)
                before = len(self.broker.connections[-1].left_over)
                answer = sink.dispatch([make_mqtt_record(VIN, payload=b"x" * size) for _ in range(count)])
                made_bytes = len(self.broker.connections[-1].left_over) - before
                self.assertLessEqual(made_bytes, max(200_000, 2 * window.TURN_BYTES + size))
                self.assertGreater(made_bytes, 0)
                self.advance(20)
                self.advance(20)
                self.assertEqual(self.successResultOf(answer), [RECEIPT] * count)

    def test_rejected_records_count_for_the_turn(self) -> None:
        """A record without messages takes time as well."""
        sink = self.started()
        batch = [make_record(VIN, payload=b"x" * 10_000) for _ in range(20)]
        answer = sink.dispatch(batch)  # records without content: refused, in turns
        self.assertNoResult(answer)
        self.advance(1)
        self.assertEqual({type(outcome) for outcome in self.successResultOf(answer)}, {Rejected})
