"""The hot path in C; each function names its Python twin, which is its reference."""

from socket import socket

from fleetgw.domain.records import Envelope

def split(
    data: bytes, position: int, most_bytes: int, max_message_bytes: int, make: type[Envelope], /
) -> tuple[list[Envelope | bytes], int]:
    """Parse whole messages; twin: ``fleetgw.adapters.ingress.fast_frames.split_frames``."""

def rewrite_data(payload: bytes, vin: str, table: bytes, max_elements: int, /) -> tuple[bytes, int] | None:
    """Exchange the vin of a canonical ``V`` payload; twin: ``fleetgw.adapters.codec.canonical.rewrite_data``."""

def use_openssl(
    ssl_read: int, ssl_write: int, ssl_get_error: int, bio_read: int, bio_write: int, bio_get_mem_data: int, /
) -> None:
    """Give the addresses of the functions that ``receive`` and ``send`` call; without a twin."""

def receive(
    source: socket | bytes, ssl: int, into_ssl: int, max_message_bytes: int, make: type[Envelope], /
) -> tuple[int, list[Envelope | bytes], bytes]:
    """Read, decrypt and parse; twin: ``fleetgw.adapters.ingress.tls_records.receive_in_python``. Handles are addresses."""

def send(target: socket | None, ssl: int, from_ssl: int, data: bytes, /) -> bytes | None:
    """Encrypt and send; twin: ``fleetgw.adapters.ingress.tls_records.send_in_python``. Handles are addresses."""
