"""How many connections the file descriptors of this process allow."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from fleetgw.app.config.limits import Limits

MOST_DESCRIPTORS = 1_048_576
"""More are neither asked for nor counted on, whatever the limit."""

OWN_DESCRIPTORS = 200
"""Kept back from vehicles: libraries, logs, connections to brokers, the status page and the metrics page."""

MOST_HALF_OPEN = 4096
MOST_PER_VEHICLE = 1024


@frozen
class Capacity:
    """How many connections there may be. All are at least 1.

    :ivar connections: that have finished their upgrade.
    :ivar half_open: that have not.
    :ivar half_open_per_address: of these, of one IPv4 address or IPv6 /64 network.
    :ivar per_vehicle: of one vehicle.
    """

    connections: int
    half_open: int
    half_open_per_address: int
    per_vehicle: int


def raise_descriptor_limit() -> None:
    """Raise the soft limit to the hard one. Without the right to do so the limit stays as it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def descriptor_limit() -> int:
    """How many file descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MOST_DESCRIPTORS)


def room_for_vehicles(descriptors: int) -> int:
    """How many of so many descriptors vehicles may use up; where there are few, a quarter is kept back."""
    return max(4, descriptors - min(OWN_DESCRIPTORS, descriptors // 4))


def descriptors_for(connections: int, max_half_open: int = 0) -> int:
    """How many descriptors let so many vehicles connect: ``capacity`` the other way round."""
    half_open = min(max_half_open or MOST_HALF_OPEN, -(-connections // 3))
    return connections + half_open + OWN_DESCRIPTORS


def capacity(limits: Limits, descriptors: int) -> Capacity:
    """The connections that ``limits`` and so many descriptors allow; a limit of 0 follows from the descriptors."""
    room = room_for_vehicles(descriptors)
    half_open = min(limits.max_half_open or MOST_HALF_OPEN, room // 4)
    connections = min(limits.max_connections or MOST_DESCRIPTORS, room - half_open)
    per_address = limits.max_half_open_per_address or max(1, half_open // 2)
    per_vehicle = limits.max_connections_per_vehicle or max(1, min(MOST_PER_VEHICLE, connections // 4))
    return Capacity(connections, half_open, min(per_address, half_open), min(per_vehicle, connections))
