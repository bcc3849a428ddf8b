"""Checks of the section ``zmq``."""

import json
import re
from pathlib import Path

from fleetgw.adapters.files.reading import read_regular_file, unreadable_reason
from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.sinks.zmq.settings import Zmq

_Z85_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")  # https://rfc.zeromq.org/spec/32, a key of 32 bytes


def check_zmq(zmq: Zmq, check: SettingsCheck) -> None:
    """Check that the address can be bound, and that the key files have keys."""
    if not re.fullmatch(r"(tcp|ipc|inproc|tipc|pgm|epgm|ws|wss|vmci|norm)://.+", zmq.addr):
        what = f"is {quoted([zmq.addr])}" if zmq.addr else "is missing"
        check.refuse("addr", what, 'must be an address to bind to, such as "tcp://127.0.0.1:5284"')
    if zmq.server_key_json_path is not None:
        fix = 'must be a JSON file {"public": "...", "secret": "..."} with z85 keys of 40 characters'
        keys = _read_json(zmq.server_key_json_path, "server_key_json_path", fix, check)
        if keys is not None and not (
            isinstance(keys, dict) and all(_is_key(keys.get(name)) for name in ("public", "secret"))
        ):
            check.refuse("server_key_json_path", f"{zmq.server_key_json_path} holds no pair of keys", fix)
    if zmq.allowed_public_keys_json_path is not None:
        path = "allowed_public_keys_json_path"
        fix = "must be a JSON file with a list of z85 keys of 40 characters"
        allowed = _read_json(zmq.allowed_public_keys_json_path, path, fix, check)
        if allowed is not None and not (isinstance(allowed, list) and all(map(_is_key, allowed))):
            check.refuse(path, f"{zmq.allowed_public_keys_json_path} holds no list of keys", fix)
        if zmq.server_key_json_path is None:
            check.refuse(
                path,
                "has no effect without a server key: everybody would be let in",
                f"add {check.at('server_key_json_path')}",
            )


def _is_key(value: object) -> bool:
    return isinstance(value, str) and _Z85_KEY.fullmatch(value) is not None


def _read_json(file: Path, key: str, fix: str, check: SettingsCheck) -> object:
    """The value in a JSON file; None, with a problem reported, when it cannot be read."""
    try:
        value: object = json.loads(read_regular_file(file).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        check.refuse(key, f"{file} cannot be read: {unreadable_reason(error)}", fix)
        return None
    except json.JSONDecodeError as error:
        check.refuse(key, f"{file} is not JSON (line {error.lineno})", fix)
        return None
    except (ValueError, RecursionError):  # a number of thousands of digits, or too deep nesting
        check.refuse(key, f"{file} is JSON of another kind", fix)
        return None
    return value if value is not None else {}
