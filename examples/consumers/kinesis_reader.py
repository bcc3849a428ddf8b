"""Print the records of vehicles as they arrive in a Kinesis stream: python kinesis_reader.py STREAM

Credentials and region are those of any AWS program. A fleet wants the Kinesis Client Library, or Lambda, which share shards
between several readers and remember how far they have read.
"""

import argparse
import time

import boto3

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload

FIELDS = {number: name for name, number in Field.items()}

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("stream", help="such as tesla_telemetry_V")
arguments.add_argument("--endpoint-url", help="in place of Amazon's")
arguments.add_argument("--from-the-beginning", action="store_true", help="also what is in the stream already")
arguments.add_argument("--count", type=int, help="end after so many records")
options = arguments.parse_args()

kinesis = boto3.client("kinesis", endpoint_url=options.endpoint_url)
begin = "TRIM_HORIZON" if options.from_the_beginning else "LATEST"
iterators = [
    kinesis.get_shard_iterator(StreamName=options.stream, ShardId=shard["ShardId"], ShardIteratorType=begin)["ShardIterator"]
    for shard in kinesis.list_shards(StreamName=options.stream)["Shards"]
]
left = options.count
while iterators and (left is None or left > 0):
    answers = [kinesis.get_records(ShardIterator=iterator) for iterator in iterators]
    for answer in answers:
        for record in answer["Records"][:left]:
            left = None if left is None else left - 1
            payload = Payload.FromString(record["Data"])
            for datum in payload.data:
                print(record["PartitionKey"], FIELDS.get(datum.key, datum.key), str(datum.value).strip(), flush=True)
    iterators = [answer["NextShardIterator"] for answer in answers if answer.get("NextShardIterator")]
    time.sleep(0 if left == 0 else 0.5)  # a shard may be asked five times a second
