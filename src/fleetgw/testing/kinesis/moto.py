"""moto's Kinesis: a process of its own on the loopback interface, and what a consumer gets from it."""

from __future__ import annotations

import importlib.util
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple  # Any: boto3 makes its clients' methods at run time

import boto3

START_TIMEOUT_S = 30.0
REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


class Consumed(NamedTuple):
    """One record as a consumer gets it."""

    stream: str
    partition_key: str
    data: bytes


def missing() -> str | None:
    """What moto lacks to be started here, for people; None when nothing is missing."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        return "moto not found: pip install 'moto[server]'"
    return None


class Moto:
    """Started when made; what it keeps, it keeps in memory.

    :ivar port: on 127.0.0.1.
    """

    def __init__(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port: int = listener.getsockname()[1]
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(  # noqa: S603 a fixed program, nothing of a stranger's
                [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=Path(tempfile.gettempdir()),
            )
            deadline_s = time.monotonic() + START_TIMEOUT_S
            while not self._listens():
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    self.stop()
                    output.seek(0)
                    raise RuntimeError(f"moto did not start:\n{output.read().decode(errors='replace')}")
                time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def client(self) -> Any:  # as above
        """A client of boto3's that looks at it."""
        session = boto3.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        return session.client("kinesis", endpoint_url=f"http://127.0.0.1:{self.port}")

    def stop(self) -> None:
        """SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def consume(client: Any, stream: str) -> list[Consumed]:  # Any: as above
    """All records of a stream, in the order of each shard."""
    found = []
    for shard in client.list_shards(StreamName=stream)["Shards"]:
        iterator = client.get_shard_iterator(StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while iterator:
            answer = client.get_records(ShardIterator=iterator, Limit=1000)
            found += [Consumed(stream, record["PartitionKey"], record["Data"]) for record in answer["Records"]]
            iterator = answer.get("NextShardIterator") if answer["Records"] else None
    return found
