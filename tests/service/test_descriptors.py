"""Limits that follow from the number of file descriptors."""

from resource import RLIM_INFINITY, RLIMIT_NOFILE
from unittest import TestCase, mock

from fleetgw.app.config.limits import Limits
from fleetgw.app.service import descriptors
from fleetgw.app.service.descriptors import (
    MOST_DESCRIPTORS,
    Capacity,
    capacity,
    descriptors_for,
    raise_descriptor_limit,
    room_for_streams,
)


class CapacityTests(TestCase):
    def test_limits_follow_from_the_descriptors(self) -> None:
        for count, expected in (
            (20_000, Capacity(15_448, 4_096, 2_048, 1_024)),
            (1_024, Capacity(576, 192, 96, 144)),
            (128, Capacity(72, 24, 12, 18)),
            (1, Capacity(3, 1, 1, 1)),
        ):
            self.assertEqual(capacity(Limits(), count), expected)

    def test_configured_limits_hold_as_far_as_descriptors_suffice(self) -> None:
        limits = Limits(max_connections=10, max_half_open=8, max_half_open_per_address=8, max_connections_per_vehicle=10)
        self.assertEqual(capacity(limits, 20_000), Capacity(10, 8, 8, 10))
        more = Limits(max_connections=10**6, max_half_open=10**6)
        self.assertEqual(capacity(more, 1_024).connections, 576)
        self.assertEqual(capacity(more, 1_024).half_open, 192)

    def test_the_advised_number_of_descriptors_suffices(self) -> None:
        for connections in (1_000, 5_000, 20_000, 100_000):
            for half_open in (0, 100):
                limits = Limits(max_connections=connections, max_half_open=half_open)
                needed = descriptors_for(connections, half_open)
                self.assertEqual(capacity(limits, needed).connections, connections)
                self.assertLess(capacity(limits, needed - 2).connections, connections)

    def test_streams_of_the_status_port_leave_the_vehicles_their_descriptors(self) -> None:
        for count, streams in ((20_000, 256), (2_000, 256), (1_024, 56), (128, 8)):
            self.assertEqual(room_for_streams(count), streams)


class RaiseTests(TestCase):
    def raised(self, soft: int, hard: int) -> list[tuple[int, tuple[int, int]]]:
        with (
            mock.patch.object(descriptors.resource, "getrlimit", return_value=(soft, hard)),
            mock.patch.object(descriptors.resource, "setrlimit") as setrlimit,
        ):
            raise_descriptor_limit()
        return [call.args for call in setrlimit.call_args_list]

    def test_up_to_the_hard_limit_within_a_bound(self) -> None:
        self.assertEqual(self.raised(1_024, 4_096), [(RLIMIT_NOFILE, (4_096, 4_096))])
        self.assertEqual(self.raised(1_024, RLIM_INFINITY), [(RLIMIT_NOFILE, (MOST_DESCRIPTORS, RLIM_INFINITY))])
        self.assertEqual(self.raised(4_096, 4_096), [])
        self.assertEqual(self.raised(RLIM_INFINITY, RLIM_INFINITY), [])
        self.assertEqual(self.raised(2 * MOST_DESCRIPTORS, 4 * MOST_DESCRIPTORS), [])

    def test_without_permission_the_limit_stays(self) -> None:
        with (
            mock.patch.object(descriptors.resource, "getrlimit", return_value=(1, 2)),
            mock.patch.object(descriptors.resource, "setrlimit", side_effect=ValueError),
        ):
            raise_descriptor_limit()
