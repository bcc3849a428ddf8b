"""The choice between the extension and its Python twins."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import TestCase, mock

from fleetgw.adapters import speedups
from fleetgw.adapters.ingress import hot_path, tls_records
from tests.support.needed import needed


class ChoiceTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.extension = Path(folder.name, "_speedups.abi3.so")
        self.source = Path(folder.name, "_speedups.c")
        self.extension.touch()

    def choose(self, value: str | None = None, *, built: bool = True) -> tuple[object, str]:
        module = SimpleNamespace(__file__=str(self.extension)) if built else None
        environ = {} if value is None else {speedups.VARIABLE: value}
        with (
            mock.patch.dict(sys.modules, {"fleetgw._speedups": module}),
            mock.patch("fleetgw._speedups", module, create=True),
            mock.patch.dict(os.environ, environ),
        ):
            if value is None:
                os.environ.pop(speedups.VARIABLE, None)
            chosen, reason = speedups._choose()
        self.assertIn(chosen, (module, None))
        return chosen is not None, reason

    def test_in_c_where_it_is_built(self) -> None:
        self.assertEqual(self.choose(), (True, ""))
        self.assertEqual(self.choose("1"), (True, ""))

    def test_turned_off(self) -> None:
        self.assertEqual(self.choose("0"), (False, "FLEETGW_SPEEDUPS=0"))

    def test_not_built(self) -> None:
        self.assertEqual(self.choose(built=False), (False, "the extension is not built"))

    def test_one_that_cannot_be_loaded(self) -> None:
        class Broken:
            def find_spec(self, name: str, *_: object) -> None:
                if name == "fleetgw._speedups":
                    raise ImportError("undefined symbol: PyFoo")

        with mock.patch.object(sys, "meta_path", [Broken(), *sys.meta_path]), mock.patch.dict(sys.modules):
            sys.modules.pop("fleetgw._speedups", None)
            with mock.patch.dict(os.environ, {speedups.VARIABLE: "1"}):
                self.assertEqual(speedups._choose(), (None, "the extension cannot be loaded: undefined symbol: PyFoo"))

    def test_one_of_an_older_source_is_not_used(self) -> None:
        self.source.touch()
        os.utime(self.source, (1000, 1000))
        os.utime(self.extension, (2000, 2000))
        self.assertEqual(self.choose(), (True, ""))
        os.utime(self.source, (3000, 3000))
        used, reason = self.choose()
        self.assertFalse(used)
        self.assertIn("older than its source", reason)


class DescriptionTests(TestCase):
    def test_three_languages(self) -> None:
        for extension, tls, said in ((True, True, "C"), (True, False, "C, without TLS"), (False, False, "Python")):
            self.assertEqual(hot_path.language(extension=extension, tls=tls), said)

    def test_a_cryptography_without_addresses(self) -> None:
        needed(None if speedups.REASON in ("", "FLEETGW_SPEEDUPS=0") else speedups.REASON)
        code = (
            "import OpenSSL.SSL; from cryptography.hazmat.bindings import _rust; _rust._openssl = object();"
            "from fleetgw.adapters.ingress.hot_path import DESCRIPTION; print(DESCRIPTION)"
        )
        environ = os.environ | {speedups.VARIABLE: "1"}
        said = subprocess.check_output([sys.executable, "-c", code], env=environ, text=True)
        self.assertEqual(said, "C, without TLS\n")

    def test_this_process(self) -> None:
        tls = tls_records.receive is not tls_records.receive_in_python
        self.assertEqual(hot_path.HOT_PATH, hot_path.language(extension=speedups.SPEEDUPS is not None, tls=tls))
        reason = f" ({speedups.REASON})" if speedups.REASON else ""
        self.assertEqual(hot_path.DESCRIPTION, f"{hot_path.HOT_PATH}{reason}")
        self.assertEqual(bool(reason), speedups.SPEEDUPS is None)
