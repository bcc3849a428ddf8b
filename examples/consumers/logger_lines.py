"""Print the records in the log of the sink `logger`, one signal a line: tail -F twistd.log | python logger_lines.py"""

import json
import sys

for line in sys.stdin:
    try:
        event = json.loads(line)
    except ValueError:
        continue  # another program's line, or json_log_enable is off
    if not isinstance(event, dict) or event.get("msg") != "record_payload":
        continue  # something else that happened
    if event["metadata"]["txtype"] == "V":
        for name, value in event["data"].items():
            if name not in ("Vin", "CreatedAt", "IsResend"):
                print(event["vin"], name, json.dumps(value), flush=True)
    else:
        print(event["vin"], event["metadata"]["txtype"], json.dumps(event["data"]), flush=True)
