"""Routes from the configuration."""

from unittest import TestCase

from fleetgw.domain.acks import Accepted, AllOf, ConfirmedBy, Spooled
from fleetgw.domain.routing import Route, build_routes


class RoutingTests(TestCase):
    def test_sinks_keep_their_order_without_duplicates_and_each_type_has_its_policy(self) -> None:
        routes = build_routes(
            {"V": ["kafka", "logger", "kafka"], "alerts": ("logger",), "custom": ["kafka"]}, {"V": ConfirmedBy("kafka")}
        )
        self.assertEqual(
            routes,
            {
                "V": Route("V", ("kafka", "logger"), ConfirmedBy("kafka"), False),
                "alerts": Route("alerts", ("logger",), Accepted(), False),
                "custom": Route("custom", ("kafka",), Accepted(), False),
            },
        )

    def test_a_type_is_spooled_whose_policy_names_the_spool_or_every_type(self) -> None:
        records, policies = {"V": ["kafka"], "alerts": ["kafka"]}, {"V": AllOf((Spooled(), ConfirmedBy("kafka")))}
        for spools_all, expected in ((False, ["V"]), (True, ["V", "alerts"])):
            routes = build_routes(records, policies, spools_all=spools_all)
            self.assertEqual([each for each, route in routes.items() if route.is_spooled], expected)

    def test_no_record_types_give_no_routes(self) -> None:
        self.assertEqual(build_routes({}, {}), {})
