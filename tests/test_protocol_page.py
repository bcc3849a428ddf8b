"""The page on the wire protocol: bytes from the golden vectors, deadlines and answers from the source."""

import json
import re
from unittest import TestCase

from fleetgw.adapters.codec.envelope import read
from fleetgw.adapters.codec.generated.vehicle_connectivity_pb2 import VehicleConnectivity
from fleetgw.domain.records import MessageType
from tests.test_documentation import ROOT, SOURCE, configuration_keys, load_generator

PAGE = (ROOT / "docs" / "protocol.md").read_text()
CASES = {case["name"]: case for case in json.loads((ROOT / "tests" / "vectors" / "envelopes.json").read_text())["cases"]}
LINE = re.compile(r"^([0-9a-f]{4})  ((?:[0-9a-f]{2} )*[0-9a-f]{2})(?: |$)", re.MULTILINE)


def section(heading: str) -> str:
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def bytes_of(heading: str) -> bytes:
    """The bytes that a section lists; each line begins where the one before it ends."""
    content = b""
    for offset, line in LINE.findall(section(heading)):
        if int(offset, 16) != len(content):
            raise AssertionError(f"the line {offset} follows {len(content):04x}")
        content += bytes.fromhex(line)
    return content


class ProtocolPageTests(TestCase):
    def test_the_record_is_the_vector_s(self) -> None:
        case = CASES["usual builder, V"]
        self.assertEqual(bytes_of("Envelope").hex(), case["in"])
        envelope = read(bytes_of("Envelope"))
        self.assertEqual((envelope.message_type, envelope.topic), (MessageType.STREAM.value, b"V"))
        self.assertEqual(envelope.payload.hex(), case["fields"]["payload"])
        for name, value in case["fields"].items():
            if name in ("device_id", "device_type", "sender_id", "txid", "topic"):
                self.assertIn(f'"{bytes.fromhex(value).decode()}"', section("Envelope"), name)
            elif name in ("created_at", "delivered_at_epoch_ms"):
                self.assertIn(f"{name} = {value}\n", section("Envelope"))

    def test_the_acknowledgement_is_the_vector_s(self) -> None:
        self.assertEqual([bytes_of("Acknowledgements").hex()], CASES["usual builder, V"]["replies"])

    def test_the_error_reply_is_the_vector_s(self) -> None:
        self.assertEqual([bytes_of("Error reply").hex()], CASES["V, payload does not parse"]["replies"])
        self.assertEqual(read(bytes_of("Error reply")).payload, b"incorrect message format")

    def test_the_connectivity_payload_is_the_vector_s(self) -> None:
        cases = json.loads((ROOT / "tests" / "vectors" / "dispatch.json").read_text())["cases"]
        (case,) = [case for case in cases if case["name"] == "kafka: connectivity status 1"]
        self.assertEqual(bytes_of("Connectivity").hex(), case["value"])
        decoded = VehicleConnectivity.FromString(bytes_of("Connectivity"))
        for text in (
            decoded.vin,
            decoded.network_interface,
            f"{decoded.created_at.seconds} seconds",
            "status = 1 (CONNECTED)",
        ):
            self.assertIn(text, section("Connectivity"))

    def test_the_generated_parts_are_fresh(self) -> None:
        self.assertEqual(load_generator().complete(PAGE), PAGE, "run: make docs")

    def test_deadlines_have_their_keys_and_defaults(self) -> None:
        rows = re.findall(r"^\| .* \| `(limits\.\w+)` \| (\d+) \|", section("Deadlines"), re.MULTILINE)
        keys = configuration_keys()
        timeouts = {name for name in keys if name.startswith("limits.") and name.endswith(("_timeout_s", "_after_s"))}
        self.assertEqual({name: float(value) for name, value in rows}, {name: keys[name].default for name in timeouts})

    def test_every_http_answer_is_listed(self) -> None:
        ingress = "".join(path.read_text() for path in (SOURCE / "adapters" / "ingress").rglob("*.py"))
        answers = set(re.findall(r'"(\d{3} [A-Z][A-Za-z ]+)"', ingress)) | {"101 Switching Protocols"}
        listed = set(re.findall(r"^\| (\d{3} [A-Z][A-Za-z ]+) \|", section("Upgrade"), re.MULTILINE))
        self.assertGreater(len(answers), 5)
        self.assertEqual(listed, answers)

    def test_every_close_code_is_listed(self) -> None:
        ingress = "".join(path.read_text() for path in (SOURCE / "adapters" / "ingress").rglob("*.py"))
        codes = set(re.findall(r"^(?!MAX)[A-Z_]+ = (1\d{3})\b", ingress, re.MULTILINE))
        differences = (ROOT / "tests" / "vectors" / "stream_differences.json").read_text()
        codes |= {str(int(code, 16)) for code in re.findall(r'"88\.\.(\w{4})"', differences)}
        listed = set(re.findall(r"^\| (1\d{3}) \|", section("Frames"), re.MULTILINE))
        self.assertGreater(len(codes), 5)
        self.assertEqual(codes - listed, set())
