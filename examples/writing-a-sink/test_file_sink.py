"""The file sink keeps the contract of every sink. Run by pytest or by trial."""

import base64
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fleetgw_file_sink import FileSink
from twisted.trial.unittest import SynchronousTestCase, TestCase

from fleetgw.sinkapi import ConfigurationError, ISinkReactor, SinkContext
from fleetgw.testing.dispatcher_contract import DispatcherContract
from fleetgw.testing.dispatcher_harness import InMemoryHarness, Received
from fleetgw.testing.sink_doubles import ReadableLog, ReadableMetrics, ThreadlessReactor


class SlowDisk(ThreadlessReactor):
    """Runs the jobs for a thread at once; while held, at the release."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Callable[[], None]] | None = None

    def callInThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None:
        if self.held is None:
            callable(*args, **kwargs)
        else:
            self.held.append(lambda: callable(*args, **kwargs))


class FileHarness(InMemoryHarness):
    confirmed_metric = "file_publish_total"

    def __init__(self) -> None:
        super().__init__()
        self._disk = self._reactor = SlowDisk()
        self._folder = tempfile.TemporaryDirectory()
        self._file = Path(self._folder.name, "there", "records.jsonl")

    @property
    def reactor(self) -> ISinkReactor:
        return self._disk

    async def set_up(self) -> None:
        self._file.parent.mkdir()

    async def tear_down(self) -> None:
        self._folder.cleanup()

    def settings(self, *, timeout_s: float, bounded: bool) -> Mapping[str, object]:
        return {"path": str(self._file)}

    def make_sink(self, context: SinkContext) -> FileSink:
        return FileSink(context)

    async def received(self, at_least: int) -> Sequence[Received]:
        lines = map(json.loads, self._file.read_text().splitlines()) if self._file.exists() else ()
        return [Received(line["vin"], base64.b64decode(line["payload"])) for line in lines]

    async def hold(self) -> None:
        self._disk.held = []

    async def release(self) -> None:
        held, self._disk.held = self._disk.held or [], None
        for job in held:
            job()

    async def go_away(self) -> None:
        self._file.parent.rename(self._file.parent.with_name("away"))

    async def come_back(self) -> None:
        self._file.parent.with_name("away").rename(self._file.parent)


class FileSinkTests(DispatcherContract, TestCase):
    def make_harness(self) -> FileHarness:
        return FileHarness()


class SettingsTests(SynchronousTestCase):
    def test_path_is_needed(self) -> None:
        context = SinkContext("file", {}, "fleet", ("V",), ThreadlessReactor(), ReadableMetrics(), ReadableLog())
        with self.assertRaisesRegex(ConfigurationError, "file.path: is missing; must be the path of a file"):
            FileSink(context)
