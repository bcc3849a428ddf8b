"""The live page of a real gateway, while simulated vehicles drive."""

import json
import socket
import ssl
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.page.browser import PageCase
from tests.page.double_gateway import MadeUpFleet, vin_of
from tests.support.faults.vehicle import wait_until
from tests.support.free_ports import free_ports
from tests.support.gateway_process import BIN, GatewayProcess
from tests.support.raw_vehicle import UPGRADE

TOKEN = "a-token-of-the-tests"
VEHICLES = 200
NAMED_BY_DATA = ("/types", "/handshakes", "/connections", "/per_day", "/total", "/records_by_type", "/value")
HOSTILE = "<img src=x onerror=alert(1)>"
TOTALS = """() => [...document.querySelectorAll(".figure-note")].slice(1, 3)
  .map((note) => parseInt(note.textContent.replaceAll(",", "")))"""
LOST = "net::ERR|Failed to load resource"


class Fleet:
    """``fleetgw simulate``, which stops at the end."""

    def __init__(self, gateway: GatewayProcess, vehicles: int) -> None:
        command = [
            BIN / "fleetgw",
            "simulate",
            "--url",
            f"wss://localhost:{gateway.port}",
            "--certs",
            gateway.folder / "certs",
        ]
        command += ["--vehicles", str(vehicles), "--rate", "60", "--types", "V=80,alerts=20"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class GatewayCase(PageCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.status_port, self.kafka_port = free_ports(2)
        self.url = f"http://127.0.0.1:{self.status_port}/"

    def start(self, port: int = 0, **changes: object) -> GatewayProcess:
        config = {
            "status_port": self.status_port,
            "operations": {"token": TOKEN},
            "records": {"V": ["logger"], "alerts": ["logger"]},
        }
        gateway = self.enterContext(GatewayProcess(self.folder, port=port, **config | changes))
        gateway.wait_for("server_listening")
        return gateway

    def drive(self, gateway: GatewayProcess, vehicles: int) -> Fleet:
        fleet = Fleet(gateway, vehicles)
        self.addCleanup(fleet.stop)
        return fleet

    def visit(self, route="", **options):
        page = self.open(f"{self.url}#token={TOKEN}", **options)
        if route:
            page.goto(f"{self.url}#/{route}")
        return page


class LiveTests(GatewayCase):
    def test_overview_vehicles_and_a_vehicle_while_a_fleet_drives(self) -> None:
        self.drive(self.start(), VEHICLES)
        page = self.visit()
        self.see(page, "Healthy")
        page.wait_for_function("wanted => document.querySelector('.figure-value').textContent === wanted", arg=str(VEHICLES))
        before = page.evaluate(TOTALS)
        page.wait_for_function(f"before => ({TOTALS})().every((now, index) => now > before[index])", arg=before)
        self.see(page, "logger")
        self.see(page, "Balanced, nothing lost")
        page.goto(f"{self.url}#/vehicles")
        self.see(page, f"100 of {VEHICLES} vehicles")
        page.locator("a[data-row]").first.click()
        self.see(page, "Latest values")
        self.see(page, "Soc")
        page.wait_for_function("() => document.querySelector('.spark path.line[d^=M]')")

    def test_tap(self) -> None:
        self.drive(self.start(), 10)
        page = self.visit("tap")
        page.get_by_label("Record type").fill("V")
        page.get_by_label("Field").fill("Soc")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.querySelectorAll('.tap li').length >= 5")
        for text in page.locator(".tap .record").all_inner_texts():
            self.assertRegex(text, r"^Soc=[\d.]+$")

    def test_a_sink_that_is_down(self) -> None:
        self.start(records={"V": ["kafka"]}, kafka={"bootstrap.servers": f"127.0.0.1:{self.kafka_port}"})
        page = self.visit()
        self.see(page, "Not ready for")
        self.see(page, "What helps")

    def test_comes_back_after_a_restart(self) -> None:
        gateway = self.start()
        page = self.visit(expected_errors=LOST)
        self.see(page, "Healthy")
        gateway.stop()
        self.see(page, "No connection")
        self.start()
        page.locator("#link-state").get_by_text("Healthy").wait_for()


class DoubleTests(GatewayCase):
    def test_the_double_answers_in_the_shapes_of_the_gateway(self) -> None:
        spooled = {"ack_policies": {"V": "spooled"}, "spool": {"path": str(self.folder / "spool")}}
        self.drive(self.start(**spooled), 1)
        wait_until(lambda: any(each["signals_today"] for each in self.get("vehicles")["vehicles"]), "no signals")
        (vehicle,), double = self.get("vehicles")["vehicles"], MadeUpFleet(1)
        vin = vehicle["vin"]
        self.assert_same_shape(self.get("overview"), double.overview())
        self.assert_same_shape(vehicle, double.vehicles[0])
        self.assert_same_shape(self.get(f"vehicles/{vin}"), double.details(vin_of(0)))
        self.assert_same_shape(self.get("signals"), double.signals(1))

    def get(self, path: str):
        request = urllib.request.Request(f"{self.url}api/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    def assert_same_shape(self, real: object, made_up: object, path: str = "") -> None:
        """The same keys at every depth; of lists, and of objects by type, reason or day, one element counts."""
        if isinstance(real, dict) and isinstance(made_up, dict):
            if path.endswith(NAMED_BY_DATA):
                real, made_up = [*real.values()], [*made_up.values()]
            else:
                self.assertEqual(real.keys(), made_up.keys(), path)
                for key in real:
                    self.assert_same_shape(real[key], made_up[key], f"{path}/{key}")
        if isinstance(real, list) and isinstance(made_up, list) and real and made_up:
            self.assert_same_shape(real[0], made_up[0], f"{path}[]")


class TextsFromOutsideTests(GatewayCase):
    def connect(self, gateway: GatewayProcess, certificates: CertificateFolder) -> ssl.SSLSocket:
        certificates.ensure_all(1)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        (vehicle,) = certificates.vehicle_files()
        context.load_cert_chain(vehicle, vehicle.with_suffix(".key"))
        plain = socket.create_connection(("127.0.0.1", gateway.port))
        return self.enterContext(context.wrap_socket(plain))

    def test_a_certificate_of_another_authority_is_explained(self) -> None:
        refused = self.connect(self.start(), CertificateFolder(self.folder / "foreign", 30))
        with self.assertRaises(OSError):
            refused.recv(1)
        page = self.visit("refusals")
        page.locator(".refusal .tag").get_by_text("handshake").first.wait_for()
        self.see(page, "What helps")
        self.assertIn("tls.ca_file has no authority", page.locator(".refusal").first.inner_text(), "a key as it is spelled")

    def test_a_version_header_with_markup_stays_text(self) -> None:
        vehicle = self.connect(self.start(), CertificateFolder(self.folder / "certs", 30))
        vehicle.sendall(
            UPGRADE.removesuffix(b"\r\n") + f"Version: {HOSTILE}\r\nX-Network-Interface: {HOSTILE}\r\n\r\n".encode()
        )
        self.assertIn(b" 101 ", vehicle.recv(200))
        page = self.visit("vehicles")
        self.see(page, HOSTILE)
        page.locator("a[data-row]").first.click()
        self.see(page, "Latest values")
        self.see(page, HOSTILE)
        self.assertEqual(page.locator("main img").count(), 0)
