"""Ceiling on the memory of all queues together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from fleetgw.adapters.process.memory_limit import memory_limit_bytes

if TYPE_CHECKING:
    from fleetgw.app.config.sections import Config

MIB = 1 << 20

SHARE_OF_MEMORY = 0.5
"""Default ceiling, as a share of the memory of the container or the machine."""

FALLBACK_MIB = 512
"""Default ceiling where the size of the memory is unknown."""


def ceiling_mib(config: Config) -> int:
    """The ceiling in effect, in MiB."""
    if config.delivery.memory_mib is not None:
        return config.delivery.memory_mib
    limit_bytes = memory_limit_bytes()
    return FALLBACK_MIB if limit_bytes is None else max(1, int(limit_bytes * SHARE_OF_MEMORY) // MIB)


def with_ceiling(config: Config) -> Config:
    """The configuration with the ceiling in effect as its ``delivery.memory_mib``."""
    return structs.replace(config, delivery=structs.replace(config.delivery, memory_mib=ceiling_mib(config)))
