"""Each mistake in a vehicle configuration is named, with its remedy."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from fleetgw.app.vehicle_config.checks import FIELDS, check_members, check_vins, signals_per_day
from fleetgw.app.vehicle_config.making import UnusableField, make_body, parse_field, parse_field_list
from fleetgw.app.vehicle_config.presets import PRESETS
from fleetgw.domain.ports import Verdict

NOW = 1_800_000_000.0
GOOD: dict[str, Any] = {
    "hostname": "telemetry.example.com",
    "port": 443,
    "ca": "",
    "fields": {"Soc": {"interval_seconds": 60, "minimum_delta": 0.5, "resend_interval_seconds": 600}},
    "alert_types": ["service"],
    "exp": int(NOW) + 86_400,
    "prefer_typed": True,
    "delivery_policy": "latest",
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def problems(config: dict[str, Any]) -> list[str]:
    return [f"{each.what}; {each.fix}" for each in check_members(config, NOW) if each.verdict is Verdict.WILL_NOT_WORK]


class MemberTests(SynchronousTestCase):
    def problem(self, **changes: object) -> str:
        (one,) = problems(GOOD | changes)
        return one

    def of_field(self, **options: object) -> str:
        return self.problem(fields={"Soc": {"interval_seconds": 60} | options})

    def test_a_good_one(self) -> None:
        self.assertEqual(problems(GOOD), [])
        self.assertEqual({each.verdict for each in check_members(GOOD, NOW)}, {Verdict.GOOD})

    def test_a_port_as_text(self) -> None:
        self.assertIn("port: is the text '443'", self.problem(port="443"))
        for port in (0, 65536, 443.0, True, None):
            self.assertIn("from 1 to 65535", self.problem(port=port))

    def test_a_wrong_host(self) -> None:
        for host, named in (
            (None, "is missing"),
            ("https://telemetry.example.com", "no scheme"),
            ("telemetry.example.com:443", "no port"),
            ("telemetry.example.com/x", "no path"),
            ("203.0.113.7", "an address"),
            ("::1", "no port"),
            ("localhost", "public name"),
            ("telemetry", "public name"),
            ("tele metry.example.com", "public name"),
            ("-telemetry.example.com", "public name"),
            ("\x1b[31m.example.com", "\\x1b"),
        ):
            self.assertIn(named, self.problem(hostname=host))

    def test_an_interval_under_the_minimum(self) -> None:
        for interval in (0, -1, 0.5, "60", None, True):
            self.assertIn("fields.Soc.interval_seconds", self.of_field(interval_seconds=interval))

    def test_other_options_of_a_field(self) -> None:
        self.assertIn("at least interval_seconds (60)", self.of_field(resend_interval_seconds=59))
        self.assertIn("fields.Soc.minimum_delta", self.of_field(minimum_delta="1"))
        self.assertIn('did you mean "interval_seconds"?', self.of_field(interval_second=60))
        self.assertIn("must be an object", self.problem(fields={"Soc": 60}))

    def test_a_field_that_does_not_exist(self) -> None:
        self.assertIn('did you mean "VehicleSpeed"?', self.problem(fields={"VehicleSped": {"interval_seconds": 1}}))
        for name in ("Unknown", "Deprecated_1"):
            self.assertIn(f"no field '{name}'", self.problem(fields={name: {"interval_seconds": 1}}))
        self.assertIn("names no field", self.problem(fields={}))

    def test_a_member_that_does_not_exist(self) -> None:
        self.assertIn('did you mean "hostname"?', self.problem(host_name="x"))

    def test_a_time_that_has_passed(self) -> None:
        self.assertIn("has passed", self.problem(exp=int(NOW)))
        self.assertIn("milliseconds", self.problem(exp=int(NOW * 1000)))
        self.assertIn("seconds since 1970", self.problem(exp="2027-01-01"))

    def test_records_that_are_not_sent_again(self) -> None:
        without = {name: value for name, value in GOOD.items() if name != "delivery_policy"}
        (finding,) = (each for each in check_members(without, NOW) if each.verdict is not Verdict.GOOD)
        self.assertEqual((finding.verdict, finding.what.partition(":")[0]), (Verdict.WORTH_A_LOOK, "delivery_policy"))

    def test_others(self) -> None:
        self.assertIn("alert_types", self.problem(alert_types="service"))
        self.assertIn("prefer_typed", self.problem(prefer_typed="yes"))
        self.assertIn("delivery_policy", self.problem(delivery_policy="all"))

    @given(st.dictionaries(st.sampled_from(sorted(GOOD)) | st.text(max_size=8), JSON, max_size=6))
    def test_nothing_raises(self, config: dict[str, Any]) -> None:
        self.assertTrue(list(check_members(config, NOW)))


class VinTests(SynchronousTestCase):
    def problem(self, vins: object) -> str:
        return "".join(each.what for each in check_vins(vins) if each.verdict is not Verdict.GOOD)

    def test_vins(self) -> None:
        self.assertEqual(self.problem(["5YJ3E1EA7KF000001"]), "")
        self.assertIn("names no vehicle", self.problem([]))
        self.assertIn("named twice", self.problem(["5YJ3E1EA7KF000001"] * 2))
        for vin in ("5YJ3E1EA7KF00000", "5YJ3E1EA7KF00000O", "5yj3e1ea7kf000001", 7):
            self.assertIn("is no VIN", self.problem([vin]))


class MakingTests(SynchronousTestCase):
    def test_every_preset_can_work(self) -> None:
        for name, preset in PRESETS.items():
            with self.subTest(name):
                self.assertLessEqual(preset.keys(), FIELDS)
                fields = {field: {"interval_seconds": interval} for field, interval in preset.items()}
                body = make_body(["5YJ3E1EA7KF000001"], "telemetry.example.com", 443, "", fields, None)
                config = body["config"]
                assert isinstance(config, dict)
                self.assertEqual(problems(config), [])

    def test_fields_as_text(self) -> None:
        self.assertEqual(parse_field("Soc", 60), ("Soc", {"interval_seconds": 60}))
        self.assertEqual(parse_field(" Soc = 5 ", 60), ("Soc", {"interval_seconds": 5}))
        for text in ("Soc=", "Soc=1.5", "Soc=often"):
            self.assertRaises(UnusableField, parse_field, text, 60)
        self.assertEqual(
            parse_field_list("# of the fleet\nSoc\n\nGear=1 # often\n", 30),
            {"Soc": {"interval_seconds": 30}, "Gear": {"interval_seconds": 1}},
        )

    def test_signals_a_day(self) -> None:
        self.assertEqual(signals_per_day({"Soc": {"interval_seconds": 60}, "Gear": {"interval_seconds": 1}}), 1440 + 86_400)
