"""One browser for all tests of a process."""

from collections.abc import Iterator

import pytest

from tests.page.browser import PageCase, lack, running_browser
from tests.support.needed import needed


@pytest.fixture(scope="session", autouse=True)
def browser() -> Iterator[None]:
    """Start the browser that ``PageCase`` uses."""
    needed(lack())
    with running_browser() as PageCase.browser:
        yield
