"""The hot path in C; each function names its Python twin, which is its reference."""

from fleetgw.domain.records import Envelope

def split(
    data: bytes, position: int, most_bytes: int, max_message_bytes: int, make: type[Envelope], /
) -> tuple[list[Envelope | bytes], int]:
    """Parse whole messages; twin: ``fleetgw.adapters.ingress.fast_frames.split_frames``."""

def rewrite_data(payload: bytes, vin: str, table: bytes, max_elements: int, /) -> tuple[bytes, int] | None:
    """Exchange the vin of a canonical ``V`` payload; twin: ``fleetgw.adapters.codec.canonical.rewrite_data``."""
