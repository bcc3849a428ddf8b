"""Routes from the configuration."""

from unittest import TestCase

from fleetgw.domain.acks import Accepted, ConfirmedBy
from fleetgw.domain.routing import Route, build_routes


class RoutingTests(TestCase):
    def test_sinks_keep_their_order_without_duplicates_and_each_type_has_its_policy(self) -> None:
        routes = build_routes(
            {"V": ["kafka", "logger", "kafka"], "alerts": ("logger",), "custom": ["kafka"]}, {"V": ConfirmedBy("kafka")}
        )
        self.assertEqual(
            routes,
            {
                "V": Route("V", ("kafka", "logger"), ConfirmedBy("kafka")),
                "alerts": Route("alerts", ("logger",), Accepted()),
                "custom": Route("custom", ("kafka",), Accepted()),
            },
        )

    def test_no_record_types_give_no_routes(self) -> None:
        self.assertEqual(build_routes({}, {}), {})
