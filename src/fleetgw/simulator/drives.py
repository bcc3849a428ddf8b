"""A model of a vehicle that parks, drives and charges. Pure: seeded, and time is an argument.

It is plausible rather than accurate: enough for a dashboard.
"""

from __future__ import annotations

import math
from enum import Enum
from random import Random

from attrs import define, field

_CITIES = ((37.7749, -122.4194), (34.0522, -118.2437), (30.2672, -97.7431), (52.5200, 13.4050), (31.2304, 121.4737))
_MILES_PER_DEGREE = 69.0
_PACK_ENERGY_KWH = 75.0
_MINUTE_S = 60.0


class Phase(Enum):
    """A vehicle's activity."""

    PARKED = "parked"
    DRIVING = "driving"
    CHARGING = "charging"


_PHASE_LENGTH_MINUTES = {Phase.PARKED: (3.0, 60.0), Phase.DRIVING: (5.0, 45.0), Phase.CHARGING: (10.0, 60.0)}


@define
class Drive:
    """The state of one vehicle.

    Speeds are miles per hour and distances miles, as vehicles report them; pressures are bar, temperatures Celsius.
    A negative pack current discharges.

    :ivar seed: the same seed and the same steps give the same states.
    """

    seed: int
    random: Random = field(init=False)
    phase: Phase = field(init=False)
    phase_left_s: float = field(init=False)
    latitude: float = field(init=False)
    longitude: float = field(init=False)
    heading_degrees: float = field(init=False)
    odometer_miles: float = field(init=False)
    soc_percent: float = field(init=False)
    charge_limit_percent: int = field(init=False)
    outside_celsius: float = field(init=False)
    inside_celsius: float = field(init=False)
    tire_pressures_bar: list[float] = field(init=False)
    speed_mph: float = field(init=False, default=0.0)
    pack_current_a: float = field(init=False, default=0.0)
    charging_power_kw: float = field(init=False, default=0.0)
    _target_speed_mph: float = field(init=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        random = self.random = Random(self.seed)  # noqa: S311  a drive is not a secret
        latitude, longitude = random.choice(_CITIES)
        self.latitude = latitude + random.uniform(-0.2, 0.2)
        self.longitude = longitude + random.uniform(-0.2, 0.2)
        self.heading_degrees = random.uniform(0.0, 360.0)
        self.odometer_miles = random.uniform(50.0, 90_000.0)
        self.soc_percent = random.uniform(25.0, 85.0)
        self.charge_limit_percent = random.choice((80, 90, 100))
        self.outside_celsius = random.uniform(-5.0, 32.0)
        self.inside_celsius = self.outside_celsius + random.uniform(0.0, 8.0)
        self.tire_pressures_bar = [random.uniform(2.7, 3.1) for _ in range(4)]
        self._enter(random.choices((Phase.PARKED, Phase.DRIVING, Phase.CHARGING), (15, 60, 25))[0])
        self.phase_left_s *= random.random()

    @property
    def pack_voltage_v(self) -> float:
        """Rises with the state of charge, sags with the current drawn."""
        return 320.0 + 0.8 * self.soc_percent + 0.05 * self.pack_current_a

    def advance(self, elapsed_s: float) -> None:
        """Advance by ``elapsed_s`` seconds (at least 0)."""
        self.phase_left_s -= elapsed_s
        match self.phase:
            case Phase.DRIVING:
                self._drive(elapsed_s)
            case Phase.CHARGING:
                self._charge(elapsed_s)
            case Phase.PARKED:
                self.soc_percent = max(1.0, self.soc_percent - elapsed_s * 1e-5)
        wanted_celsius = 21.0 if self.phase is Phase.DRIVING else self.outside_celsius
        self.inside_celsius += (wanted_celsius - self.inside_celsius) * min(1.0, elapsed_s / (10 * _MINUTE_S))
        if self.phase_left_s <= 0:
            self._enter(self._next_phase())

    def _next_phase(self) -> Phase:
        if self.phase is not Phase.DRIVING:
            return Phase.DRIVING
        return Phase.CHARGING if self.random.random() < (0.9 if self.soc_percent < 40 else 0.3) else Phase.PARKED

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.phase_left_s = self.random.uniform(*_PHASE_LENGTH_MINUTES[phase]) * _MINUTE_S
        self.speed_mph = self._target_speed_mph = 0.0
        self.pack_current_a = self.charging_power_kw = 0.0
        if phase is Phase.DRIVING:
            self._target_speed_mph = self.random.uniform(15.0, 75.0)

    def _drive(self, elapsed_s: float) -> None:
        random = self.random
        if random.random() < elapsed_s / 20.0:
            self._target_speed_mph = random.choice((0.0, 25.0, 35.0, 45.0, 65.0, 75.0)) * random.uniform(0.9, 1.05)
        change_mph = max(-6.0 * elapsed_s, min(4.0 * elapsed_s, self._target_speed_mph - self.speed_mph))
        self.speed_mph = max(0.0, self.speed_mph + change_mph)
        distance_miles = self.speed_mph * elapsed_s / 3600.0
        self.odometer_miles += distance_miles
        self.heading_degrees = (self.heading_degrees + random.gauss(0.0, 3.0) * min(1.0, elapsed_s)) % 360.0
        heading = math.radians(self.heading_degrees)
        self.latitude += distance_miles * math.cos(heading) / _MILES_PER_DEGREE
        self.longitude += distance_miles * math.sin(heading) / (_MILES_PER_DEGREE * math.cos(math.radians(self.latitude)))
        acceleration_mph_s = change_mph / elapsed_s if elapsed_s else 0.0
        power_kw = 0.7 + 0.25 * self.speed_mph + 0.9 * self.speed_mph * acceleration_mph_s / 4.0
        self.pack_current_a = -power_kw * 1000.0 / self.pack_voltage_v
        self.soc_percent -= power_kw * elapsed_s / 3600.0 / _PACK_ENERGY_KWH * 100.0
        if self.soc_percent < 8.0:
            self.soc_percent = max(1.0, self.soc_percent)
            self._enter(Phase.CHARGING)

    def _charge(self, elapsed_s: float) -> None:
        self.charging_power_kw = 11.0 if self.soc_percent > 80.0 else min(150.0, 4.0 * (85.0 - self.soc_percent))
        self.pack_current_a = self.charging_power_kw * 1000.0 / self.pack_voltage_v
        self.soc_percent += self.charging_power_kw * elapsed_s / 3600.0 / _PACK_ENERGY_KWH * 100.0
        if self.soc_percent >= self.charge_limit_percent:
            self.soc_percent = float(self.charge_limit_percent)
            self._enter(Phase.PARKED)
