"""Print the records of vehicles as they arrive over ZeroMQ: python zmq_subscriber.py tcp://gateway:5284 NAMESPACE"""

import argparse
import json
from pathlib import Path

import zmq

from fleetgw.adapters.codec.generated.vehicle_data_pb2 import Field, Payload

FIELDS = {number: name for name, number in Field.items()}

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("addr", help="where the gateway's zmq.addr can be reached")
arguments.add_argument("namespace", help="the gateway's namespace")
arguments.add_argument("--keys", help='for CURVE, a JSON file {"public": ..., "secret": ..., "server": ...}')
arguments.add_argument("--count", type=int, help="end after so many records")
options = arguments.parse_args()

subscriber = zmq.Context().socket(zmq.SUB)
if options.keys:
    keys = json.loads(Path(options.keys).read_text())
    subscriber.curve_publickey = keys["public"].encode()
    subscriber.curve_secretkey = keys["secret"].encode()
    subscriber.curve_serverkey = keys["server"].encode()
subscriber.setsockopt_string(zmq.SUBSCRIBE, f"{options.namespace}_V")
subscriber.connect(options.addr)

shown = 0
while options.count is None or shown < options.count:
    _topic, payload = subscriber.recv_multipart()
    record = Payload.FromString(payload)
    for datum in record.data:
        print(record.vin, FIELDS.get(datum.key, datum.key), str(datum.value).strip(), flush=True)
    shown += 1
