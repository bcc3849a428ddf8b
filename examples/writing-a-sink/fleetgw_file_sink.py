"""A sink that appends records to a file, one JSON object a line. Delivered means: on disk."""

import base64
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fleetgw.sinkapi import BlockingSink, Exclusive, Meta, PublishMetrics, Record, Settings, SinkContext, SinkType, typed


class FileSettings(Settings, frozen=True):
    """A file of JSON lines."""

    path: Annotated[Path, Meta(description="The file that records are appended to.")]


class FileSink(BlockingSink):
    def __init__(self, context: SinkContext) -> None:
        metrics = PublishMetrics(context.metrics, "file", "Records written to the file.", context.record_types)
        super().__init__(context, metrics=metrics)
        self._path = typed(FileSettings, context.settings, context.name).path

    def write(self, records: Sequence[Record]) -> None:
        with self._path.open("ab") as file:
            file.write(b"".join(map(line, records)))
            file.flush()
            os.fsync(file.fileno())


def line(record: Record) -> bytes:
    """A record as a line; the payload is protobuf, or JSON with ``transmit_decoded_records``: either goes as base64."""
    return json.dumps({**record.metadata(), "payload": base64.b64encode(record.payload).decode()}).encode() + b"\n"


FILE: SinkType[FileSettings] = SinkType(
    name="file", settings=FileSettings, make=FileSink, holds=lambda file: [Exclusive("file", str(file.path))]
)
