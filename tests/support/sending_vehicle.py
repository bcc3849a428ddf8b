"""A vehicle that sends records to a gateway process over a real connection, and waits for acks."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from websockets.sync.client import connect

from fleetgw.adapters.codec import envelope
from fleetgw.simulator.certificate_folder import CertificateFolder
from tests.support.deadline import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self


class SendingVehicle:
    """One connection, for use in a ``with`` statement.

    :param folder: of the gateway; the authority is in ``certs`` in it.
    """

    def __init__(self, folder: Path, port: int) -> None:
        certs = CertificateFolder(folder / "certs", 30)
        certs.ensure_vehicles(1)
        (certificate, *_) = certs.vehicle_files()
        self.vin = certificate.stem
        context = ssl.create_default_context(cafile=str(certs.authority_file))
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        url = f"wss://localhost:{port}/"
        self._connecting = connect(url, ssl=context, compression=None, open_timeout=DEADLINE_S)

    def __enter__(self) -> Self:
        self._connection = self._connecting.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connecting.__exit__(kind, error, traceback)

    def send(self, txids: Sequence[str], record_type: str = "custom", payload: bytes = b"payload") -> None:
        """Send records."""
        for txid in txids:
            message = envelope.write_stream(
                txid=txid.encode(),
                topic=record_type.encode(),
                sender_id=f"vehicle_device.{self.vin}".encode(),
                payload=payload,
                created_at_s=1,
                device_type=b"vehicle_device",
                device_id=self.vin.encode(),
            )
            self._connection.send(message)

    def send_raw(self, message: bytes) -> None:
        """Send any bytes as a message."""
        self._connection.send(message)

    def wait_for_acks(self, txids: Sequence[str], record_type: str = "custom") -> None:
        """Wait until these records are acknowledged, in any order.

        :raises AssertionError: something else is answered.
        :raises TimeoutError: an ack does not come.
        """
        expected = {envelope.ack(record_type, txid.encode()) for txid in txids}
        while expected:
            answer = self._connection.recv(DEADLINE_S)
            if answer not in expected:
                raise AssertionError(f"{answer!r} is no ack of {txids}")
            expected.remove(answer)
