"""Some hundred histories, and what the simulation itself promises."""

import os
import subprocess
import sys
from contextlib import redirect_stdout
from hashlib import sha256
from io import StringIO
from unittest import TestCase
from unittest.mock import patch

from tests.simulation.__main__ import main
from tests.simulation.failures import failure_of
from tests.simulation.history import History, run

HISTORIES = 400


class HistoryTests(TestCase):
    def test_no_promise_is_broken(self) -> None:
        for seed in range(HISTORIES):
            failure = failure_of(seed)
            if failure is not None:
                self.fail(f"seed {seed}:\n{failure}\nTo replay it: make simulate N=1 SEED={seed}")


class ReplayTests(TestCase):
    def test_a_seed_gives_the_same_history_in_every_process(self) -> None:
        fingerprints = {_fingerprint_in_a_process(hash_seed) for hash_seed in ("1", "2")}
        self.assertEqual(fingerprints, {fingerprint()})

    def test_seeds_give_different_histories(self) -> None:
        self.assertNotEqual(run(1).trace, run(2).trace)


class CommandTests(TestCase):
    def test_histories_without_a_failure(self) -> None:
        status, text = _main("20", "--processes", "1", "--quiet")
        self.assertEqual(status, 0)
        self.assertIn("20 histories without a failure", text)

    def test_a_failure_is_told_with_its_trace_and_the_command_that_replays_it(self) -> None:
        with patch.object(History, "settle", _fail):
            status, text = _main("7", "--seed", "3", "--processes", "1", "--quiet")
        self.assertEqual(status, 1)
        self.assertIn("seed 3 fails:\nSetup(", text)
        self.assertIn("heal", text)
        self.assertIn("RuntimeError: does not settle", text)
        self.assertIn("make simulate N=1 SEED=3", text)

    def test_one_history_is_told_whole(self) -> None:
        with patch.object(History, "settle", _fail):
            status, text = _main("1", "--seed", "3")
        self.assertEqual(status, 1)
        self.assertIn("connects", text)
        self.assertEqual(_main("1", "--seed", "3"), (0, "seed 3: no failure\n"))


def _fail(history: History) -> None:
    raise RuntimeError("does not settle")


def _main(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    with redirect_stdout(out):
        return main(arguments), out.getvalue()


def fingerprint() -> str:
    """A number that the traces of some seeds have in common with no others."""
    return sha256("\n".join(line for seed in range(30) for line in run(seed).trace).encode()).hexdigest()


def _fingerprint_in_a_process(hash_seed: str) -> str:
    code = "from tests.simulation.test_simulation import fingerprint; print(fingerprint())"
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()
