"""Print the records of vehicles as they arrive over MQTT: python mqtt.py BROKER TOPIC_BASE"""

import argparse

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("broker", help="host:port")
arguments.add_argument("topic_base", help="as in the gateway's mqtt.topic_base")
arguments.add_argument("--count", type=int, help="end after so many messages")
options = arguments.parse_args()
left = options.count


def on_connect(client, _data, _flags, _reason, _properties):
    client.subscribe(f"{options.topic_base}/+/v/+", qos=1)  # every signal of every vehicle


def on_message(client, _data, message):
    global left
    if left != 0:
        vin, _, field = message.topic.removeprefix(f"{options.topic_base}/").split("/")
        print(vin, field, message.payload.decode(), flush=True)
    if left is not None:
        left -= 1
        if left <= 0:
            client.disconnect()


client = Client(CallbackAPIVersion.VERSION2)
client.on_connect = on_connect
client.on_message = on_message
host, _, port = options.broker.rpartition(":")
client.connect(host, int(port))
client.loop_forever()
