"""Pseudonyms in place of VINs: where they are found, and that nothing else is replaced."""

from __future__ import annotations

import json
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.cli.pseudonyms import Pseudonyms

VIN, OTHER = "5YJ3E1EA7KF000001", "5YJ3E1EA7KF000002"


def replaced(text: str) -> str:
    pseudonyms = Pseudonyms()
    pseudonyms.learn(text)
    return pseudonyms.replaced(text)


class PseudonymsTests(TestCase):
    def test_words_of_the_form_of_a_vin(self) -> None:
        for text, expected in (
            (VIN, "vehicle-1"),
            (f"{OTHER},{VIN} {OTHER.lower()}", "vehicle-1,vehicle-2 vehicle-1"),
            (f"topic_{VIN}_V /{VIN}/", "topic_vehicle-1_V /vehicle-1/"),
            (f"CN={VIN}", "CN=vehicle-1"),
        ):
            with self.subTest(text=text):
                self.assertEqual(replaced(text), expected)

    def test_other_words_stay(self) -> None:
        for text in ("12345678901234567", f"{VIN}1", "5YJ3E1EA7KF00000", "5YJ3E1EA7KFO00001", "a=1 b=info"):
            with self.subTest(text=text):
                self.assertEqual(replaced(text), text)

    def test_fields(self) -> None:
        for text, expected in (
            ("vin=my-car n=my-car", "vin=vehicle-1 n=vehicle-1"),
            ('{"vin":"my-car","n":"my-car!"}', '{"vin":"vehicle-1","n":"vehicle-1!"}'),
            ('{"Vin": "a b"}', '{"Vin": "vehicle-1"}'),
            ('x_total{vin="my-car",n="1"} 3', 'x_total{vin="vehicle-1",n="1"} 3'),
            ("device_id=my-car", "device_id=vehicle-1"),
            ('"device_ids": ["my-car", "b c d e"] b c d e', '"device_ids": ["vehicle-1", "vehicle-2"] vehicle-2'),
            ('{"text":"{\\"vin\\":\\"my-car\\"}"}', '{"text":"{\\"vin\\":\\"vehicle-1\\"}"}'),
            (json.dumps({"vin": 'é"\n car', "x": 'an é"\n car left'}), '{"vin": "vehicle-1", "x": "an vehicle-1 left"}'),
        ):
            with self.subTest(text=text):
                self.assertEqual(replaced(text), expected)

    def test_fields_without_a_vehicle(self) -> None:
        for text in ('"vin": null', "vin=", 'vin=""', "vin=none", "moving=on", '"living": "room"', "spin=x"):
            with self.subTest(text=text):
                self.assertEqual(replaced(text), text)

    def test_short_names_are_replaced_in_fields_alone(self) -> None:
        self.assertEqual(
            replaced('{"vin":"1","held":1,"vin":"car"} car'), '{"vin":"vehicle-1","held":1,"vin":"vehicle-2"} car'
        )

    def test_a_part_of_a_longer_name_stays_apart(self) -> None:
        self.assertEqual(
            replaced("vin=my-car-1 vin=my-car my-car-1 my-car12"), "vin=vehicle-1 vin=vehicle-2 vehicle-1 my-car12"
        )

    def test_vehicles_that_are_known_from_elsewhere(self) -> None:
        pseudonyms = Pseudonyms()
        for name in (VIN, "my-car", VIN, ""):
            pseudonyms.add(name)
        self.assertEqual(pseudonyms.count, 2)
        self.assertEqual(pseudonyms.replaced("MY-CAR has left"), "vehicle-2 has left")

    @given(st.text(min_size=6, max_size=20), st.text(max_size=20))
    def test_no_name_of_a_field_stays_in_json(self, name: str, other: str) -> None:
        text = json.dumps({"vin": name, "other": other}, ensure_ascii=False)
        if name.lower() in ("null", "none", "true", "false"):
            return
        self.assertNotEqual(json.loads(replaced(text))["vin"], name)
