"""The command line ``fleetgw``, run in the process of the test."""

from __future__ import annotations

import contextlib
import io

from fleetgw.cli import main


def run(*arguments: object) -> tuple[int | str | None, str, str]:
    """Run a command; its exit status, standard output and standard error."""
    out, error = io.StringIO(), io.StringIO()
    status: int | str | None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            status = exit_.code
    return status, out.getvalue(), error.getvalue()
