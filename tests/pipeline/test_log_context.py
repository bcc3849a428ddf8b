"""Every log event about one connection of a vehicle tells the vehicle and the peer's address."""

from __future__ import annotations

from attrs import evolve

from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.app.pipeline.connected import RateLimit
from tests.support.recording_link import Link
from tests.support.session_case import VIN, SessionCase, answers, message, vehicle

ADDRESS = "203.0.113.7:50000"
EVENTS = (
    "unexpected_record",
    "unexpected_sender_id",
    "unknown_message_type_error",
    "rate_limit_exceeded",
    "socket_disconnected",
)


class LogContextTests(SessionCase):
    def test_each_event(self) -> None:
        gateway = self.make(rate_limit=RateLimit(1, 60))
        session = gateway.connected(evolve(vehicle(), address=ADDRESS), Link())
        answers(session, [b"garbage", envelope_form.ack("V", b"1"), message("V", b"1"), message("V", b"2")])
        gateway.sessions.connected.limit_rate(None)
        answers(session, [message("own", b"3", sender_id="vehicle_device.OTHER")])
        session.disconnected()
        for event in EVENTS:
            with self.subTest(event):
                told = self.log.fields_of(event)[0]
                self.assertEqual((told["device_id"], told["remote_ip"]), (VIN, ADDRESS))
