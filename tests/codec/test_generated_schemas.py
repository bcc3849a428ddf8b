"""``protos/generate.py``: the generated code matches the schemas, and ``--check`` detects when it does not."""

import shutil
import sys
import tempfile
from contextlib import redirect_stderr
from importlib.util import module_from_spec, spec_from_file_location
from io import StringIO
from pathlib import Path
from types import ModuleType
from unittest import TestCase
from unittest.mock import patch

ROOT = Path(__file__).parents[2]


def load_generator() -> ModuleType:
    spec = spec_from_file_location("fleetgw_protos_generate", ROOT / "protos" / "generate.py")
    if spec is None or spec.loader is None:
        raise AssertionError("protos/generate.py cannot be loaded")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class GeneratedSchemasTests(TestCase):
    def test_nothing_is_stale(self) -> None:
        self.assertEqual(load_generator().main(["--check"]), 0)

    def test_check_names_stale_files_and_generating_updates_them(self) -> None:
        generator = load_generator()
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "generated"
            shutil.copytree(generator.GENERATED, copy, ignore=shutil.ignore_patterns("__pycache__"))
            (copy / "vehicle_data_pb2.py").write_text("changed by hand")
            (copy / "left_over_pb2.py").write_text("")
            (copy / "vehicle_error_pb2.pyi").unlink()
            with patch.object(generator, "GENERATED", copy):
                complaints = StringIO()
                with redirect_stderr(complaints):
                    self.assertEqual(generator.main(["--check"]), 1)
                for name in ("vehicle_data_pb2.py", "left_over_pb2.py", "vehicle_error_pb2.pyi"):
                    self.assertIn(name, complaints.getvalue())
                self.assertEqual(generator.main([]), 0)
                self.assertEqual(generator.main(["--check"]), 0)
                self.assertTrue((copy / "__init__.py").exists())
