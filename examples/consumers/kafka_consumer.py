"""Print the records of vehicles as they arrive in Kafka: python kafka_consumer.py SERVERS TOPIC"""

import argparse
import sys

from confluent_kafka import Consumer

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload

FIELDS = {number: name for name, number in Field.items()}

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("servers", help="host:port, several with commas between")
arguments.add_argument("topic", help="such as tesla_telemetry_V")
arguments.add_argument("--group", default="fleetgw-example", help="consumers of one group share the partitions")
arguments.add_argument("--from-the-beginning", action="store_true", help="a new group also gets what is there already")
arguments.add_argument("-X", dest="properties", metavar="NAME=VALUE", action="append", default=[], help="as for librdkafka")
arguments.add_argument("--count", type=int, help="end after so many records")
options = arguments.parse_args()

consumer = Consumer(
    {
        "bootstrap.servers": options.servers,
        "group.id": options.group,
        "auto.offset.reset": "earliest" if options.from_the_beginning else "latest",
        **dict(each.split("=", 1) for each in options.properties),
    }
)
consumer.subscribe([options.topic])
left = options.count
while left is None or left > 0:
    message = consumer.poll(1)
    if message is None:
        continue
    if message.error():
        print(message.error().str(), file=sys.stderr)  # such as a topic that is not there yet; it is looked for again
        continue
    vin = message.key().decode()
    for datum in Payload.FromString(message.value()).data:
        print(vin, FIELDS.get(datum.key, datum.key), str(datum.value).strip(), flush=True)
    left = None if left is None else left - 1
consumer.close()
