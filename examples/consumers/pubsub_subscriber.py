"""Print the records of vehicles as they arrive over Pub/Sub: python pubsub_subscriber.py PROJECT TOPIC SUBSCRIPTION

The subscription is created where it does not exist; it gets what is published from then on.
"""

import argparse
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event

from google.api_core.exceptions import AlreadyExists
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload

FIELDS = {number: name for name, number in Field.items()}

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("project")
arguments.add_argument("topic", help="such as tesla_telemetry_V")
arguments.add_argument("subscription")
arguments.add_argument("--ordered", action="store_true", help="for a gateway with pubsub.ordering_by_vehicle")
arguments.add_argument("--count", type=int, help="end after so many records")
options = arguments.parse_args()

left = options.count
enough = Event()


def show(message):
    global left
    payload = Payload.FromString(message.data)
    for datum in payload.data:
        print(message.attributes["vin"], FIELDS.get(datum.key, datum.key), str(datum.value).strip(), flush=True)
    message.ack()
    if left is not None:
        left -= 1
        if left <= 0:
            enough.set()


with pubsub_v1.SubscriberClient() as subscriber:
    name = subscriber.subscription_path(options.project, options.subscription)
    topic = subscriber.topic_path(options.project, options.topic)
    with suppress(AlreadyExists):
        subscriber.create_subscription(request={"name": name, "topic": topic, "enable_message_ordering": options.ordered})
    print("subscribed", flush=True)
    one_thread = ThreadScheduler(ThreadPoolExecutor(1))  # several would print into each other's lines
    reading = subscriber.subscribe(name, callback=show, scheduler=one_thread)
    enough.wait()
    reading.cancel()
    reading.result()
