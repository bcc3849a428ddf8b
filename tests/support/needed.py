"""Programs that a test needs on its machine."""

import os
from unittest import SkipTest


def needed(lack: str | None) -> None:
    """Skip the test where the machine lacks a program; fail it where all must be there (``CI`` is set).

    :param lack: description of the missing program; None when there is none.
    """
    if lack is None:
        return
    if os.environ.get("CI"):
        raise AssertionError(lack)
    raise SkipTest(lack)
