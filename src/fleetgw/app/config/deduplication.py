"""The section ``deduplication``."""

from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.settings.values import Positive, Seconds, Settings


class Deduplication(Settings, frozen=True, kw_only=True):
    """Records that are acknowledged again, and not delivered again."""

    window_s: Annotated[
        Seconds,
        Meta(
            description="Seconds in which a record with the vehicle, record type and txid of an acknowledged one is a "
            "duplicate; 0: every record is delivered."
        ),
    ] = 0.0
    max_records: Annotated[
        Positive,
        Meta(
            description="Acknowledged records that are remembered, some 250 bytes each; beyond it the oldest are forgotten."
        ),
    ] = 100_000
