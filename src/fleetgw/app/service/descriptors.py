"""Bounds on connections that follow from the file descriptors of this process."""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

from fleetgw.adapters.monitoring.site import MAX_STREAMS

if TYPE_CHECKING:
    from fleetgw.app.config.limits import Limits

MOST_DESCRIPTORS = 1_048_576
"""Highest number of descriptors that the gateway asks for or counts on."""

_WITHOUT_STREAMS = 200
OWN_DESCRIPTORS = _WITHOUT_STREAMS + MAX_STREAMS
"""Descriptors reserved for libraries, reactor and poller, logs, connections to brokers, the status and the metrics port."""

_FEWEST_STREAMS = 8

MOST_HALF_OPEN = 4096
MOST_PER_VEHICLE = 1024


@frozen
class Capacity:
    """Highest numbers of connections; each is at least 1.

    :ivar connections: connections after their upgrade.
    :ivar half_open: connections before their upgrade.
    :ivar half_open_per_address: those of one IPv4 address or IPv6 /64 network.
    :ivar per_vehicle: connections of one vehicle.
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
    """Number of file descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_DESCRIPTORS if soft == resource.RLIM_INFINITY else min(soft, MOST_DESCRIPTORS)


def room_for_vehicles(descriptors: int) -> int:
    """Number of descriptors for vehicles, out of ``descriptors``; where these are few, a quarter of them is reserved."""
    return max(4, descriptors - _reserved(descriptors))


def room_for_streams(descriptors: int) -> int:
    """Number of streams of the status port that the reserved descriptors allow, at most ``MAX_STREAMS``."""
    return max(_FEWEST_STREAMS, _reserved(descriptors) - _WITHOUT_STREAMS)


def _reserved(descriptors: int) -> int:
    return min(OWN_DESCRIPTORS, descriptors // 4)


def descriptors_for(connections: int, max_half_open: int = 0) -> int:
    """Number of descriptors that a number of vehicles needs: the inverse of ``capacity``."""
    half_open = min(max_half_open or MOST_HALF_OPEN, -(-connections // 3))
    room = connections + half_open
    return room + min(OWN_DESCRIPTORS, room // 3)


def capacity(limits: Limits, descriptors: int) -> Capacity:
    """The connections that ``limits`` and a number of descriptors allow; a limit of 0 follows from the descriptors."""
    room = room_for_vehicles(descriptors)
    half_open = min(limits.max_half_open or MOST_HALF_OPEN, room // 4)
    connections = min(limits.max_connections or MOST_DESCRIPTORS, room - half_open)
    per_address = limits.max_half_open_per_address or max(1, half_open // 2)
    per_vehicle = limits.max_connections_per_vehicle or max(1, min(MOST_PER_VEHICLE, connections // 4))
    return Capacity(connections, half_open, min(per_address, half_open), min(per_vehicle, connections))
