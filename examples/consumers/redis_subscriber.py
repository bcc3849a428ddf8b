"""Print the records of one vehicle as they arrive over Redis: python redis_subscriber.py SERVER NAMESPACE VIN"""

import argparse
import time
from uuid import uuid4

from redis import Redis

LEASE_S = 60

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("server", help="host:port")
arguments.add_argument("namespace", help="as in the gateway's namespace")
arguments.add_argument("vin")
arguments.add_argument("--type", default="V", help="record type")
arguments.add_argument("--prefix", help="as in redis.subscriber_set_prefix; left out: redis.publish_vin_topics is on")
arguments.add_argument("--count", type=int, help="end after so many records")
options = arguments.parse_args()

vehicle = f"{options.namespace}_{options.type}_{{{options.vin}}}"
own_channel = vehicle if options.prefix is None else f"viewer:{uuid4()}"
subscribers = f"{options.prefix}_{vehicle}"

host, _, port = options.server.rpartition(":")
server = Redis(host=host, port=int(port))
subscription = server.pubsub()
subscription.subscribe(own_channel)  # first listen, then say so
renew_at = 0.0
left = options.count
while left is None or left > 0:
    if options.prefix is not None and time.time() >= renew_at:
        server.zadd(subscribers, {own_channel: int(time.time()) + LEASE_S})
        renew_at = time.time() + LEASE_S / 3
    message = subscription.get_message(timeout=1)
    if message is not None and message["type"] == "message":
        print(options.vin, message["data"].decode("utf-8", "replace"), flush=True)  # JSON with transmit_decoded_records
        left = None if left is None else left - 1
if options.prefix is not None:
    server.zrem(subscribers, own_channel)
