"""How much memory the queues of a configuration may take together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from fleetgw.adapters.process.memory_limit import memory_limit_bytes

if TYPE_CHECKING:
    from fleetgw.app.config.sections import Config

MIB = 1 << 20

SHARE_OF_MEMORY = 0.5
"""The part of the container's or the machine's memory that queues take unless the configuration says how much."""

FALLBACK_MIB = 512
"""Where nothing says how much memory there is."""


def ceiling_mib(config: Config) -> int:
    """The ceiling that is in effect, in MiB."""
    if config.delivery.memory_mib is not None:
        return config.delivery.memory_mib
    limit_bytes = memory_limit_bytes()
    return FALLBACK_MIB if limit_bytes is None else max(1, int(limit_bytes * SHARE_OF_MEMORY) // MIB)


def with_ceiling(config: Config) -> Config:
    """The configuration with the ceiling that is in effect in it."""
    return structs.replace(config, delivery=structs.replace(config.delivery, memory_mib=ceiling_mib(config)))
