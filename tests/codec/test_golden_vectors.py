"""The golden vectors of envelopes, records and identities, byte for byte.

Where ours differs on purpose, ``vectors/differences.json`` lists the case (its ``name``; or cases by a ``pattern`` for
names, a log ``event`` or a ``member`` that they have), the members of the case that are ours, and the reason. A listed
difference that does not differ, or matches nothing, fails.
"""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any, ClassVar
from unittest import TestCase

from fleetgw.adapters.codec import RecordCodec
from fleetgw.adapters.codec import envelope as envelope_form
from fleetgw.adapters.ingress.certificate import facts_from_der
from fleetgw.domain.errors import MalformedEnvelope, MalformedPayload, Unauthorized
from fleetgw.domain.identity import DEFAULT_ISSUERS, identify
from fleetgw.domain.records import Envelope, PeerIdentity, Record, Vehicle

VECTORS = Path(__file__).parents[1] / "vectors"
SIZE_LIMIT_BYTES = 1_000_000
RECEIVED_AT_MS = 1_764_000_000_123

PROTOBUF = RecordCodec(transmit_decoded_records=False)
JSON = RecordCodec(transmit_decoded_records=True)

Case = dict[str, Any]


class Differences:
    """The deliberate differences of one file of vectors."""

    def __init__(self, file: str) -> None:
        listed = json.loads((VECTORS / "differences.json").read_text())
        self.listed = [difference for difference in listed if difference["file"] == file]

    @staticmethod
    def matches(difference: Case, vector: Case) -> bool:
        match difference:
            case {"name": name}:
                return bool(name == vector["name"])
            case {"pattern": pattern}:
                return re.fullmatch(pattern, vector["name"]) is not None
            case {"event": event}:
                return event in vector["log_events"]
            case {"member": member}:
                return member in vector
        raise AssertionError(f"matches by nothing: {difference}")

    def ours(self, case: Case) -> Case:
        """The case with our own members."""
        for difference in self.listed:
            if self.matches(difference, case):
                case = {**case, **difference["ours"]}
        return case

    def idle(self, cases: list[Case]) -> list[str]:
        """Listed differences that match no case, or a case that is equal already."""
        idle = []
        for difference in self.listed:
            matched = [case for case in cases if self.matches(difference, case)]
            if not matched:
                idle.append(f"matches nothing: {difference}")
            for case in matched:
                same = [member for member, value in difference["ours"].items() if case.get(member) == value]
                idle.extend(f"does not differ: {member} of {case['name']}" for member in same)
            if not difference["reason"]:
                idle.append(f"has no reason: {difference}")
        return idle


def load(file: str) -> Case:
    return json.loads((VECTORS / file).read_text())  # type: ignore[no-any-return]  # as written there


def raw(text: str | Case) -> bytes:
    """Text of a vector as bytes: itself, or ``{"hex": ...}`` where it is not UTF-8."""
    return text.encode() if isinstance(text, str) else bytes.fromhex(text["hex"])


def message_of(case: Case) -> bytes:
    if "in" in case:
        return bytes.fromhex(case["in"])
    return b"".join(bytes.fromhex(part) * repeat for part, repeat in case["in_rle"])


def payload_form(payload: bytes) -> str | Case:
    """A payload in the form of the vectors: hex, or hash and length of a large one."""
    if len(payload) > 10_000:
        return {"sha256": hashlib.sha256(payload).hexdigest(), "len": len(payload)}
    return payload.hex()


class EnvelopeVectorTests(TestCase):
    """One message in; replies and dispatched records out, in the order of the pipeline."""

    file: ClassVar[Case] = load("envelopes.json")
    differences = Differences("envelopes.json")

    def setUp(self) -> None:
        self.vehicle = Vehicle(PeerIdentity("vehicle_device", self.file["device_id"]), self.file["device_id"], "id")

    def answer(self, message: bytes) -> tuple[list[bytes], list[Record]]:
        """Replies of a gateway without reliable acks, and records that sinks get."""
        if len(message) > SIZE_LIMIT_BYTES:
            return [envelope_form.error_reply(b"")], []
        try:
            envelope = PROTOBUF.read_envelope(message)
        except MalformedEnvelope:
            return [envelope_form.error_reply(b"")], []
        if not envelope.has_message or envelope.message_type != 4:
            return [envelope_form.ack("", envelope.txid)], []
        record_type = envelope.topic.decode("utf-8", "surrogateescape")
        routed = record_type in self.file["routed_types"]
        if not routed and envelope.sender_id.decode("latin-1") not in (self.file["sender_id"], self.file["device_id"]):
            return [envelope_form.error_reply(envelope.txid)], []
        try:
            record = PROTOBUF.read_record(record_type, envelope, self.vehicle, RECEIVED_AT_MS)
        except MalformedPayload:
            return [envelope_form.error_reply(envelope.txid)], []
        return [envelope_form.ack(record_type, envelope.txid)], [record] if routed else []

    def test_every_case(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                ours = self.differences.ours(case)
                replies, dispatched = self.answer(message_of(case))
                wanted = ours["replies"][:1] if ours.get("acked_once") else ours["replies"]
                self.assertEqual([reply.hex() for reply in replies], wanted)
                self.assertEqual(
                    [(r.record_type, r.txid, payload_form(r.payload)) for r in dispatched],
                    [(d["topic"], raw(d["txid"]), d["payload"] or "") for d in ours["dispatched"]],
                )

    def test_decoded_fields(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                if case["go"] == "ok":
                    envelope = PROTOBUF.read_envelope(message_of(case))
                    fields = {
                        name: payload_form(getattr(envelope, name)) for name in ("txid", "topic", "sender_id", "payload")
                    }
                    self.assertEqual(fields, {name: case["fields"][name] or "" for name in fields})
                    self.assertEqual((envelope.message_type, envelope.has_message), (case["fields"]["message_type"], True))

    def test_acked_once_where_the_go_server_acks_twice(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                doubled = len(case["replies"]) == 2 and case["replies"][0] == case["replies"][1]
                self.assertEqual(doubled, "acked_once" in self.differences.ours(case))

    def test_buffer_slack_is_refused(self) -> None:
        slack = [case for case in self.file["cases"] if "buffer_slack" in case]
        self.assertTrue(slack)
        for case in slack:
            with self.subTest(case["name"]):
                self.assertIsNone(self.differences.ours(case)["buffer_slack"])
                self.assertEqual(self.answer(message_of(case)), ([envelope_form.error_reply(b"")], []))

    def test_listed_differences_differ(self) -> None:
        self.assertEqual(self.differences.idle(self.file["cases"]), [])


class RecordVectorTests(TestCase):
    """A payload in; the payload that sinks get, its JSON form and metadata out."""

    file: ClassVar[Case] = load("records.json")
    differences = Differences("records.json")

    def read(self, codec: RecordCodec, case: Case) -> Record | None:
        """The record, or None for an error reply."""
        vehicle = Vehicle(
            PeerIdentity("vehicle_device", case["device_id"]), case["device_id"], "id", case.get("version", "")
        )
        sender_id = case.get("message_sender_id", vehicle.identity.sender_id)
        if not case.get("routed", True) and sender_id not in (vehicle.identity.sender_id, case["device_id"]):
            return None
        payload = bytes.fromhex(case["payload"])
        envelope = Envelope(4, True, raw(case["txid"]), raw(case["type"]), sender_id.encode(), payload)
        try:
            return codec.read_record(case["type"], envelope, vehicle, RECEIVED_AT_MS)
        except MalformedPayload:
            return None

    def test_every_case(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                ours = self.differences.ours(case)
                record = self.read(PROTOBUF, case)
                if record is None:
                    self.assertEqual(ours["go"], "error")
                    continue
                self.assertEqual(ours["go"], "ok")
                self.assertEqual(record.payload.hex(), ours["out"] if "out" in ours else ours["out_map_keys_sorted"])
                self.assertEqual(record.signals, ours["signals"])
                self.assertEqual(record.metadata(), {**ours["metadata"], "receivedat": str(RECEIVED_AT_MS)})

    def test_json(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                ours = self.differences.ours(case)
                record = self.read(JSON, case)
                if record is None:
                    self.assertTrue(ours["go"] == "error" or "json_error" in ours)
                elif "json_payload" in ours:
                    self.assertEqual(ours["json_payload"], "the payload as it came")
                    self.assertEqual(record.payload.hex(), case["payload"])
                else:
                    self.assertEqual(record.payload.decode(), ours["json"])

    def test_listed_differences_differ(self) -> None:
        self.assertEqual(self.differences.idle(self.file["cases"]), [])


class IdentityVectorTests(TestCase):
    """A certificate in; the peer's identity out."""

    file: ClassVar[Case] = load("identity.json")
    differences = Differences("identity.json")

    def test_every_case(self) -> None:
        for case in self.file["cases"]:
            with self.subTest(case["name"]):
                ours = self.differences.ours(case)
                der = base64.b64decode("".join(case["cert"].splitlines()[1:-1]))
                facts = facts_from_der(der)
                self.assertEqual(facts.issuer_common_name, case["parsed"]["issuer_cn"])
                self.assertEqual(facts.subject_common_name, case["parsed"]["subject_cn"])
                self.assertEqual(list(facts.subject_units), case["parsed"]["subject_ous"])
                if ours["go"] == "error":
                    with self.assertRaisesRegex(Unauthorized, ours.get("said") or self.words(case)):
                        identify(facts, DEFAULT_ISSUERS)
                    continue
                identity = identify(facts, DEFAULT_ISSUERS)
                self.assertEqual(
                    (identity.client_type, identity.device_id, identity.sender_id),
                    (ours["client_type"], ours["device_id"], ours["sender_id"]),
                )

    @staticmethod
    def words(case: Case) -> str:
        """Expected reason of an error that both servers have."""
        return "Wi-Fi" if case["error"] == "excluded" else "issuer table|usage that names a client type"

    def test_listed_differences_differ(self) -> None:
        self.assertEqual(self.differences.idle(self.file["cases"]), [])
