"""Test of a program that listens: a vehicle on the program's own loop."""

import tempfile
import unittest
from pathlib import Path

from fleetgw.embed import Gateway, Record
from fleetgw.simulator.certificate_folder import CertificateFolder
from fleetgw.simulator.certificates import read_credential
from fleetgw.simulator.payloads import DriveReporter
from fleetgw.testing.loop_vehicle import LoopVehicle


class ListenerTests(unittest.IsolatedAsyncioTestCase):
    async def test_a_record_reaches_the_listener(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        certificates = CertificateFolder(Path(folder.name))  # as `fleetgw certs` makes it
        certificates.ensure_all(vehicles=1)
        (vehicle_file,) = certificates.vehicle_files()
        credential = read_credential(vehicle_file.read_bytes(), vehicle_file.with_suffix(".key").read_bytes())
        tls = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}

        got: list[Record] = []
        gateway = Gateway({"host": "127.0.0.1", "port": 0, "tls": tls}, base_dir=folder.name)
        gateway.listen(got.append, record_type="V")
        async with (
            gateway,
            LoopVehicle(gateway.port, credential, certificates.authority_file.read_bytes()) as vehicle,
        ):
            vehicle.send("V", DriveReporter(credential.common_name, seed=1).payload("V", at_ns=0), b"tx-1")
            await vehicle.until(lambda: vehicle.acked == [b"tx-1"])
            self.assertIn(credential.common_name, gateway.vehicles)
        (record,) = got
        self.assertIn("Soc", record.fields)


if __name__ == "__main__":
    unittest.main()
