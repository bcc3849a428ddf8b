"""The files of the operators' page, as routes. They are read once: none is large, and reading must not block the reactor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fleetgw.adapters.monitoring.pages import Access, Answer, Route

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDER = Path(__file__).with_name("page")

_INDEX = "index.html"
_CONTENT_TYPES = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}


def page_routes(folder: Path = FOLDER) -> Sequence[Route]:
    """One route for each file of a folder whose name has a known ending; ``index.html`` is at ``/``.

    :raises OSError: the folder cannot be read.
    """
    return [_route(each) for each in sorted(folder.iterdir()) if each.suffix in _CONTENT_TYPES]


def _route(file: Path) -> Route:
    answer = Answer(file.read_bytes(), content_type=_CONTENT_TYPES[file.suffix])
    return Route("/" if file.name == _INDEX else f"/{file.name}", lambda _: answer, Access.OPERATOR)
