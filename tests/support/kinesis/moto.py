"""moto's Kinesis, a process of its own on the loopback interface, and a consumer."""

from __future__ import annotations

import importlib.util
import sys
from typing import Any, NamedTuple  # Any: boto3 makes its clients' methods at run time

import boto3

from tests.support.broker_process import BrokerProcess

REGION = "eu-central-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": REGION}


class Consumed(NamedTuple):
    """One record at a consumer."""

    stream: str
    partition_key: str
    data: bytes


def missing() -> str | None:
    """The missing requirement of moto, for people; None where all are there."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        return "moto not found: pip install moto flask flask-cors"
    return None


class Moto(BrokerProcess):
    """Started by its constructor; keeps everything in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        """``moto_server`` of this Python, without warnings."""
        return [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]

    def client(self) -> Any:  # as above
        """A boto3 client of it."""
        session = boto3.Session(
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            region_name=REGION,
        )
        return session.client("kinesis", endpoint_url=f"http://{self.address}")


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
