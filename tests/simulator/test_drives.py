from random import Random
from unittest import TestCase

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetgw.adapters.codec.generated import vehicle_alert_pb2, vehicle_data_pb2, vehicle_error_pb2
from fleetgw.simulator.drives import Drive, Phase
from fleetgw.simulator.payloads import DriveReporter

NOW_NS = 1_795_461_509_250_000_000
SECOND_NS = 1_000_000_000
VIN = "5YJ3E1EA7KF000316"


class DriveTests(TestCase):
    @given(st.integers(0, 2**32), st.lists(st.floats(0, 30), max_size=200))
    @settings(max_examples=50)
    def test_stays_plausible(self, seed, steps):
        drive = Drive(seed)
        for elapsed_s in steps:
            odometer_miles = drive.odometer_miles
            drive.advance(elapsed_s)
            self.assertTrue(0 <= drive.soc_percent <= 100, drive)
            self.assertTrue(0 <= drive.speed_mph <= 85, drive)
            self.assertTrue(280 < drive.pack_voltage_v < 450, drive)
            self.assertTrue(-90 <= drive.latitude <= 90, drive)
            self.assertLessEqual(odometer_miles, drive.odometer_miles)
            if drive.phase is not Phase.DRIVING:
                self.assertEqual(drive.speed_mph, 0)

    def test_the_same_seed_gives_the_same_states(self):
        one, other, third = Drive(7), Drive(7), Drive(8)
        for _ in range(500):
            for drive in (one, other, third):
                drive.advance(1.0)
        self.assertEqual((one.latitude, one.soc_percent, one.phase), (other.latitude, other.soc_percent, other.phase))
        self.assertNotEqual(one.latitude, third.latitude)

    def test_a_day_has_every_phase_and_moves_the_car(self):
        drive = Drive(3)
        phases = set()
        odometer_miles = drive.odometer_miles
        place = drive.latitude, drive.longitude
        for _ in range(24 * 360):
            drive.advance(10.0)
            phases.add(drive.phase)
        self.assertEqual(phases, set(Phase))
        self.assertGreater(drive.odometer_miles, odometer_miles + 10)
        self.assertNotEqual((drive.latitude, drive.longitude), place)

    def test_charging_fills_and_driving_empties(self):
        for phase, sign in ((Phase.CHARGING, 1), (Phase.DRIVING, -1)):
            drive = next(drive for drive in map(Drive, range(100)) if drive.phase is phase and drive.phase_left_s > 200)
            before = drive.soc_percent
            for _ in range(100):
                drive.advance(1.0)
            with self.subTest(phase):
                self.assertGreater((drive.soc_percent - before) * sign, 0)
                self.assertGreater(drive.pack_current_a * sign, 0)


class PayloadTests(TestCase):
    def test_signals_have_the_kinds_of_values_that_vehicles_send(self):
        kinds = set()
        random = Random(1)
        for seed in range(20):
            reporter = DriveReporter(VIN, seed)
            at_ns = NOW_NS
            for _ in range(11):
                payload = vehicle_data_pb2.Payload.FromString(reporter.payload("V", at_ns))
                self.assertEqual(payload.vin, VIN)
                self.assertEqual(payload.created_at.ToNanoseconds(), at_ns)
                kinds |= {datum.value.WhichOneof("value") for datum in payload.data}
                fields = [datum.key for datum in payload.data]
                self.assertEqual(len(fields), len(set(fields)))
                at_ns += random.randrange(SECOND_NS)
        self.assertLessEqual(
            {
                "double_value",
                "float_value",
                "int_value",
                "boolean_value",
                "string_value",
                "location_value",
                "shift_state_value",
                "detailed_charge_state_value",
                "invalid",
            },
            kinds,
        )

    def test_an_older_vehicle_sends_text(self):
        payload = vehicle_data_pb2.Payload.FromString(DriveReporter(VIN, 4).payload("V", NOW_NS))
        texts = {datum.key: datum.value.string_value for datum in payload.data if datum.value.string_value}
        self.assertRegex(texts[vehicle_data_pb2.Location], r"^\(\d+\.\d{6} [NS], \d+\.\d{6} [EW]\)$")
        self.assertRegex(texts[vehicle_data_pb2.VehicleSpeed], r"^\d\.\d{3}e[+-]\d\d$")

    def test_alerts(self):
        reporter = DriveReporter(VIN, 1)
        for _ in range(50):
            alerts = vehicle_alert_pb2.VehicleAlerts.FromString(reporter.payload("alerts", NOW_NS))
            self.assertTrue(alerts.alerts)
            for alert in alerts.alerts:
                self.assertTrue(alert.name)
                self.assertLessEqual(alert.started_at.ToNanoseconds(), NOW_NS)
                if alert.HasField("ended_at"):
                    self.assertLessEqual(alert.started_at.ToNanoseconds(), alert.ended_at.ToNanoseconds())

    def test_errors(self):
        errors = vehicle_error_pb2.VehicleErrors.FromString(DriveReporter(VIN, 1).payload("errors", NOW_NS))
        self.assertEqual(errors.vin, VIN)
        self.assertTrue(errors.errors[0].name)
        self.assertIn("phase", errors.errors[0].tags)

    def test_custom(self):
        self.assertIn(VIN.encode(), DriveReporter(VIN, 1).payload("mileage", NOW_NS))

    def test_a_clock_that_goes_back(self):
        reporter = DriveReporter(VIN, 1)
        reporter.payload("V", NOW_NS)
        reporter.payload("V", NOW_NS - 3600 * SECOND_NS)
