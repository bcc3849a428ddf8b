"""What a test needs of the machine it runs on."""

import os
from unittest import SkipTest


def needed(lack: str | None) -> None:
    """Skip the test where the machine lacks something; where everything has to be there (``CI`` is set), fail it.

    :param lack: what it is, for people; None for nothing.
    """
    if lack is None:
        return
    if os.environ.get("CI"):
        raise AssertionError(lack)
    raise SkipTest(lack)
