"""Hostile vehicles: the number of time series does not grow with their number, nor with what they send."""

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.app.pipeline.connected import RateLimit
from fleetgw.app.pipeline.routes import OWN_LABELS
from fleetgw.domain.records import MessageType
from tests.support.recording_link import Link
from tests.support.session_case import SessionCase, message, vehicle

PER_VEHICLE = 4


class HostileVehiclesTests(SessionCase):
    def hostilities(self, number: int) -> list[bytes]:
        """Messages of a vehicle; those of each have other types, senders and ids."""
        own = f"vehicle_device.VIN{number}"
        ack = bytearray(envelope_form.ack("V", b"%d" % number))
        ack[ack.index(MessageType.STREAM_ACK.value)] = 50 + number % 200
        return [
            bytes(ack),
            message(f"free{number}", b"%d" % number, sender_id=own),
            message(b"\xff%d" % number, b"%d" % number, sender_id=own),
            message("x" * number, b"1", sender_id=own),
            message("V", b"t" * (5000 + number)),
            message("unrouted", b"1", sender_id=f"vehicle_device.OTHER{number}"),
            message("V", b"%d" % number, b"\xff" * number),
            b"garbage%d" % number,
            b"x" * (10_001 + number),
            *[message("V", b"%d" % each) for each in range(PER_VEHICLE)],
        ]

    def series(self) -> set[tuple[str, tuple[str, ...]]]:
        """Every time series: the name of its metric, and the values of its labels."""
        families = self.metrics.snapshot()
        return {(each.metric.name, values) for each in families for values in (*each.series, *each.distributions)}

    def test_further_hostile_vehicles_make_no_further_series(self) -> None:
        gateway = self.make({"alerts": "kafka"}, rate_limit=RateLimit(5 + PER_VEHICLE // 2, 60), tracked=["TRACKED"])

        def attack(numbers: range) -> None:
            for number in numbers:
                session = gateway.connected(vehicle(f"VIN{number}"), Link())
                session.received(self.hostilities(number))
                session.disconnected()

        attack(range(3 * OWN_LABELS))
        series = self.series()
        attack(range(3 * OWN_LABELS, 6 * OWN_LABELS))
        self.assertEqual(self.series() - series, set())
        touched = {name for name, _ in series}
        for name in (
            "rate_limit_exceeded_total",
            "record_beyond_bound_total",
            "record_too_big_total",
            "unauthorized_sender_id_total",
            "unknown_message_type_error_total",
            "unrouted_records_total",
        ):
            self.assertIn(name, touched)
        self.assertEqual({values for name, values in series if name == "rate_limit_exceeded_total"}, {("other", "V")})
