"""The findings of ``fleetgw doctor`` about the SQLite file. Everything here blocks."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
from attrs import evolve

from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.diagnosis.network import TIMEOUT_S
from fleetgw.adapters.sinks.sqlite.file_failures import FileReplaced, failure_of
from fleetgw.adapters.sinks.sqlite.file_version import ForeignFile, check_version
from fleetgw.adapters.sinks.sqlite.reading import open_read_only
from fleetgw.adapters.sinks.sqlite.schema import VERSION
from fleetgw.adapters.sinks.sqlite.settings import read_settings
from fleetgw.adapters.sinks.sqlite.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fleetgw.adapters.sinks.sqlite.settings import StoreSettings
    from fleetgw.adapters.sinks.support.context import SinkContext
    from fleetgw.domain.ports import Finding, IDiagnosable

_MB = 1_000_000


def sqlite_probe(context: SinkContext) -> IDiagnosable:
    """Make the probe of the file."""
    return BlockingProbe(lambda: look(context), context.reactor)


def look(context: SinkContext) -> Iterator[Finding]:
    """Check SQLite itself, the file, and the free space. A missing file is not created."""
    settings = read_settings(context)
    path = settings.path
    yield good(f"SQLite {apsw.sqlite_lib_version()}")
    if not path.parent.is_dir():
        yield will_not_work(f"the folder {path.parent} does not exist", f"mkdir -p {path.parent}")
        return
    if path.exists():
        yield from _look_at_file(settings)
    elif os.access(path.parent, os.W_OK | os.X_OK):
        yield good(f"{path} is not there yet: it is made at the start")
    else:
        yield will_not_work(f"{path.parent} cannot be written by this user", "give it the right to, or name another folder")
        return
    yield from _look_at_room(settings)


def _look_at_file(settings: StoreSettings) -> Iterator[Finding]:
    path = settings.path
    try:
        version = _version(path)
        if version < VERSION:
            yield good(f"{path} has version {version} of the schema; the next start brings it to {VERSION}")
            return
        store = Store(evolve(settings, write_timeout_s=min(settings.write_timeout_s, TIMEOUT_S)))
        try:
            store.open()
            store.probe()
        finally:
            store.abandon()
    except (apsw.Error, OSError, ForeignFile, FileReplaced) as error:
        failure = failure_of(error, path)
        what, _, fix = failure.reason.partition("; ")
        yield will_not_work(what, fix or "see the sink's page")
        return
    yield good(f"{path} can be written, schema version {version}, {path.stat().st_size // _MB} MB")


def _version(path: Path) -> int:
    with closing(open_read_only(path, wait_s=TIMEOUT_S)) as connection:
        return check_version(connection)


def _look_at_room(settings: StoreSettings) -> Iterator[Finding]:
    free_mb = shutil.disk_usage(settings.path.parent).free // _MB
    used_mb = settings.path.stat().st_size // _MB if settings.path.exists() else 0
    if not settings.max_size_mb:
        yield worth_a_look(f"{free_mb} MB free, and the file may grow without end", "set max_size_mb, or keep an eye on it")
    elif free_mb + used_mb < settings.max_size_mb:
        what = f"{free_mb} MB free, but the file may grow to {settings.max_size_mb:.0f} MB"
        yield worth_a_look(what, "make room, or lower max_size_mb")
    else:
        yield good(f"{free_mb} MB free; the file may grow to {settings.max_size_mb:.0f} MB")
