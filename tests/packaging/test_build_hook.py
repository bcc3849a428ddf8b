"""The hook that compiles the extension: where it may, and with which command."""

import errno
import os
import shlex
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import TestCase, mock

import hatch_build

COMPILER = """#!/bin/sh
printf '%s\\n' "$0" "$@" >"$TOLD"
"""


class SupportTests(TestCase):
    def test_this_machine(self) -> None:
        self.assertEqual(hatch_build.unsupported(), "")

    def test_machines_and_interpreters_that_cannot_have_it(self) -> None:
        for said, patched in (
            ("pypy is not CPython", mock.patch.object(sys, "implementation", SimpleNamespace(name="pypy"))),
            ("no global lock", mock.patch.object(sysconfig, "get_config_var", {"Py_GIL_DISABLED": 1}.get)),
            ("little-endian", mock.patch.object(sys, "byteorder", "big")),
            ("64 bits", mock.patch("struct.calcsize", return_value=4)),
            ("POSIX", mock.patch.object(sys, "platform", "win32")),
        ):
            with self.subTest(said), patched:
                self.assertIn(said, hatch_build.unsupported())


class CompilerTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.target = self.folder / "_speedups.abi3.so"

    def compile(self, **environ: str) -> str:
        told = {"TOLD": str(self.folder / "told")}
        with mock.patch.dict(os.environ, environ | told):
            for name in {"CC", "CFLAGS", "LDFLAGS"} - environ.keys():
                os.environ.pop(name, None)
            return hatch_build.compile_extension(self.folder / "_speedups.c", self.target)

    def compiler(self, name: str) -> Path:
        """A compiler that does nothing, but for writing its arguments down."""
        file = self.folder / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(COMPILER)
        file.chmod(0o755)
        return file

    def told(self) -> list[str]:
        return (self.folder / "told").read_text().splitlines()

    def test_the_environment_is_honoured(self) -> None:
        compiler = self.compiler("my compiler")
        flags = {"CFLAGS": "-O1 -DNAME='two words'", "LDFLAGS": "-Wl,-z,now"}
        self.assertEqual(self.compile(CC=f"{shlex.quote(str(compiler))} --first", **flags), "")
        told = self.told()
        self.assertEqual(told[:2], [str(compiler), "--first"])
        self.assertLess(told.index("-O2"), told.index("-O1"), "the last one holds")
        self.assertLess(told.index("-DNAME=two words"), told.index(f"-I{sysconfig.get_path('include')}"))
        self.assertEqual(told[-1], "-Wl,-z,now")
        self.assertEqual(told[told.index("-o") + 1], str(self.target))

    def test_without_the_compiler_of_python_cc_is_taken(self) -> None:
        self.compiler("cc")
        self.assertEqual(self.compile(PATH=str(self.folder / "bin")), "")
        self.assertEqual(Path(self.told()[0]).name, "cc")

    def test_without_any_compiler(self) -> None:
        problem = self.compile(PATH=str(self.folder))
        self.assertEqual(problem, "cc: No such file or directory; install a C compiler, such as gcc")

    def test_a_compiler_that_fails(self) -> None:
        self.assertRegex(self.compile(CC=f"{sys.executable} -c 'raise SystemExit(\"odd\")'"), r"ended with 1\nodd$")

    def test_output_of_the_compiler_in_another_encoding(self) -> None:
        problem = self.compile(CC=f"{sys.executable} -c 'import os; os.write(2, bytes([111, 255])); os._exit(1)'")
        self.assertRegex(problem, "ended with 1\no\N{REPLACEMENT CHARACTER}$")

    def test_variables_that_cannot_be_read(self) -> None:
        for name in ("CC", "CFLAGS", "LDFLAGS"):
            self.assertIn("CFLAGS or LDFLAGS cannot be read", self.compile(**{name: "an 'open quotation"}))

    def test_a_blank_compiler_is_none(self) -> None:
        self.compiler("cc")
        self.assertEqual(self.compile(CC=" ", PATH=str(self.folder / "bin")), "")

    def test_without_headers(self) -> None:
        with mock.patch.object(sysconfig, "get_path", return_value=str(self.folder)):
            problem = self.compile()
        self.assertIn(f"{self.folder}/Python.h is missing; ", problem)
        self.assertIn("python3-dev", problem)


class EditableTests(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.app = mock.Mock()
        self.hook: Any = hatch_build.SpeedupsHook(folder.name, {}, mock.Mock(), mock.Mock(), folder.name, "wheel", self.app)
        self.extension = Path(folder.name, hatch_build.SOURCE).with_name(hatch_build.NAME)
        self.extension.parent.mkdir(parents=True)
        self.extension.write_text("earlier")

    def test_the_extension_is_replaced_once_it_is_whole(self) -> None:
        """A process that starts meanwhile has the one of before."""

        def compile_extension(source: Path, target: Path) -> str:
            target.write_text("half")
            self.assertEqual(self.extension.read_text(), "earlier")
            target.write_text("whole")
            return ""

        with mock.patch.object(hatch_build, "compile_extension", compile_extension):
            self.hook.initialize("editable", {})
        self.assertEqual(self.extension.read_text(), "whole")
        self.assertEqual([*self.extension.parent.iterdir()], [self.extension])

    def test_a_read_only_tree(self) -> None:
        read_only = OSError(errno.EROFS, "Read-only file system")
        with (
            mock.patch.object(hatch_build, "compile_extension", return_value="cannot write"),
            mock.patch.object(Path, "unlink", side_effect=read_only),
        ):
            self.hook.initialize("editable", {})
        self.assertIn("cannot write", self.app.display_warning.call_args.args[0])
