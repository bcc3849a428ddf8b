"""Base of the tests of an embedded gateway: certificates, a configuration object, payloads."""

from __future__ import annotations

import logging
import tempfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from unittest import TestCase

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload
from fleetgw.simulator.certificates import Credential, make_authority, make_server, make_vehicle
from fleetgw.testing.loop_vehicle import LoopVehicle

VIN = "5YJ3E1EA7KF000001"
OTHER_VIN = "7SAYGDEE1PA123456"
_VALID_DAYS = 365


@cache
def authority_and_server() -> tuple[Credential, Credential]:
    """Made once for all tests, because making keys is slow."""
    now = datetime.now(UTC)
    authority = make_authority(now, _VALID_DAYS)
    return authority, make_server(authority, ["localhost"], now, _VALID_DAYS)


@cache
def vehicle_credential(vin: str = VIN) -> Credential:
    """Credential of a vehicle that the gateway accepts."""
    return make_vehicle(authority_and_server()[0], vin, datetime.now(UTC), _VALID_DAYS)


def payload_of(**fields: float | str) -> bytes:
    """The payload of a ``V`` record: text for ``str``, else 64-bit floats."""
    payload = Payload()
    payload.created_at.FromSeconds(1_700_000_000)
    for name, value in fields.items():
        datum = payload.data.add(key=Field.Value(name))
        if isinstance(value, str):
            datum.value.string_value = value
        else:
            datum.value.double_value = value
    return payload.SerializeToString()


class EmbedCase(TestCase):
    """Base of tests of embedded gateways.

    :ivar folder: holds ``ca.crt``, ``server.crt`` and ``server.key``.
    """

    def setUp(self) -> None:
        """Make the folder; without a handler of the test's own, events would go to standard error."""
        quiet = logging.NullHandler()
        logging.getLogger("fleetgw").addHandler(quiet)
        self.addCleanup(logging.getLogger("fleetgw").removeHandler, quiet)
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        authority, server = authority_and_server()
        (self.folder / "ca.crt").write_bytes(authority.certificate_pem())
        (self.folder / "server.crt").write_bytes(server.certificate_pem())
        (self.folder / "server.key").write_bytes(server.key_pem())

    def config(self, **changes: object) -> dict[str, object]:
        """A configuration object: a free port of the loopback, all types to the listeners; with these keys in addition."""
        return {
            "host": "127.0.0.1",
            "port": 0,
            "tls": {name: self.folder / file for name, file in _TLS.items()},
            **changes,
        }

    def vehicle(self, port: int, vin: str = VIN) -> LoopVehicle:
        """A vehicle on the running loop."""
        return LoopVehicle(port, vehicle_credential(vin), authority_and_server()[0].certificate_pem())


_TLS = {"ca_file": "ca.crt", "server_cert": "server.crt", "server_key": "server.key"}
