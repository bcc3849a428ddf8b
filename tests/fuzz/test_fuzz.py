"""Some thousand inputs, and what the fuzz itself promises."""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from functools import cache
from hashlib import sha256
from io import StringIO
from random import Random
from unittest import TestCase
from unittest.mock import patch

from fleetgw.domain.records import Envelope
from tests.fuzz.__main__ import main
from tests.fuzz.runs import COMPARISONS, INPUTS_OF_PARTS, Report, parts_of, run
from tests.fuzz.split import SplitComparison

INPUTS = 6_000


@cache
def report() -> Report:
    """Of one fuzz for all tests; trial sets up no class."""
    return run(range(INPUTS))


class InputTests(TestCase):
    def test_no_reading_differs(self) -> None:
        for seed, failure in report().failures:
            self.fail(f"seed {seed}: {failure}\nTo replay it: make fuzz N=1 SEED={seed}")

    def test_the_fast_path_takes_what_it_is_made_for(self) -> None:
        shares = {(function, kind): share for function, kind, _, share in report().taken()}
        for which, least in {
            ("rewrite_data", "own"): 0.6,
            ("rewrite_data", "composed"): 0.7,
            ("rewrite_data", "protobuf"): 0.3,
            ("rewrite_data", "mutated"): 0.1,
            ("split", "usual"): 0.7,
            ("split", "any message"): 0.2,
            ("split", "mutated"): 0.2,
        }.items():
            with self.subTest(which):
                self.assertGreater(shares[which], least)


class ReplayTests(TestCase):
    def test_a_seed_gives_the_same_input_in_every_process(self) -> None:
        fingerprints = {_fingerprint_in_a_process(hash_seed) for hash_seed in ("1", "2")}
        self.assertEqual(fingerprints, {fingerprint()})

    def test_a_seed_gives_the_same_input_whatever_ran_before(self) -> None:
        ranges = list(parts_of(INPUTS_OF_PARTS - 7, INPUTS_OF_PARTS + 10, INPUTS_OF_PARTS))
        self.assertEqual([(part.start, part.stop) for part in ranges], [(4_993, 5_000), (5_000, 10_000), (10_000, 10_003)])


class CommandTests(TestCase):
    def test_inputs_without_a_difference(self) -> None:
        status, text = _main("200", "--processes", "1", "--quiet")
        self.assertEqual(status, 0)
        self.assertIn("taken by the fast path", text)
        self.assertIn("200 inputs without a difference", text)

    def test_a_difference_is_told_with_the_input_and_the_command_that_replays_it(self) -> None:
        twin = SplitComparison.functions[0]

        def faulty(*arguments: object) -> object:
            messages, end = twin(*arguments)
            return [message[:-1] if type(message) is bytes else message for message in messages], end

        with patch.object(SplitComparison, "functions", [twin, faulty]):
            status, text = _main("120", "--processes", "1", "--quiet")
        self.assertEqual(status, 1)
        self.assertRegex(text, r"seed \d+ fails: split, any \w+: [0-9a-f]+, \d+, \d+, 1000000\n")
        self.assertIn("faulty", text)
        self.assertRegex(text, r"To replay it: make fuzz N=1 SEED=\d+")

    def test_both_readings_may_be_wrong_together(self) -> None:
        """The independent reading finds a fault that twin and C have in common."""

        def faulty(data: bytes, *arguments: object) -> object:
            return [Envelope(4, True, b"", b"", b"", b"")], len(data)

        with patch.object(SplitComparison, "functions", [faulty, faulty]):
            status, text = _main("120", "--processes", "1", "--quiet")
        self.assertEqual(status, 1)
        self.assertIn("in general", text)


def _main(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    with redirect_stdout(out):
        return main(arguments), out.getvalue()


def fingerprint() -> str:
    """A number that some inputs have in common with no others."""
    digest = sha256()
    for comparison in COMPARISONS:
        drawn = comparison(3)
        for seed in range(200):
            digest.update(repr(drawn.draw(Random(seed))).encode())
    return digest.hexdigest()


def _fingerprint_in_a_process(hash_seed: str) -> str:
    code = "from tests.fuzz.test_fuzz import fingerprint; print(fingerprint())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()
