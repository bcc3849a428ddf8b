"""Can the routed sinks work with their sections? What needs the destination itself is the sink's own business."""

import json
import re
from pathlib import Path

from fleetgw.app.config.certificates import check_client_tls
from fleetgw.adapters.settings.files import read_regular_file
from fleetgw.adapters.settings.findings import Findings, Surroundings, quoted
from fleetgw.adapters.sinks.kafka.checks import check_kafka
from fleetgw.app.config.routes import routed_sinks
from fleetgw.adapters.settings.secrets import reason
from fleetgw.app.config.sections import Config

_MILLISECOND_NS = 1_000_000
_Z85_KEY = re.compile(r"[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}")  # https://rfc.zeromq.org/spec/32, a key of 32 bytes


def check_sinks(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    """Check the section of every built-in sink that is routed and configured."""
    for sink in sorted(routed_sinks(config) & _CHECKS.keys()):
        if getattr(config, sink) is not None and findings.usable(sink):
            _CHECKS[sink](config, findings, surroundings)


def is_host_and_port(text: str) -> bool:
    """Whether a text is ``host:port``."""
    match = re.fullmatch(r"(?:[^\s:\[\]/]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})", text)
    return match is not None and 0 < int(match[1]) <= 65535


def _check_pubsub(config: Config, findings: Findings, surroundings: Surroundings) -> None:
    if config.pubsub is not None and not config.pubsub.gcp_project_id:
        findings.refuse("pubsub.gcp_project_id", "is missing", "name the project that owns the topics")
    credentials = surroundings.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    if credentials and surroundings.environ.get("PUBSUB_EMULATOR_HOST"):
        findings.refuse(
            "pubsub",
            "both PUBSUB_EMULATOR_HOST and GOOGLE_APPLICATION_CREDENTIALS are set",
            "unset one of these environment variables",
        )
    elif credentials and not (surroundings.base_dir / credentials).is_file():
        findings.refuse(
            "pubsub", f"GOOGLE_APPLICATION_CREDENTIALS names {credentials}, which does not exist", "name a file that does"
        )


def _check_kinesis(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    endpoint = config.kinesis.override_host if config.kinesis is not None else None
    if not endpoint or re.fullmatch(r"https?://[^\s/]+.*", endpoint):
        return
    if re.fullmatch(r"[\w.-]+(:\d{1,5})?|\[[0-9A-Fa-f:.]+\](:\d{1,5})?", endpoint):
        what = f"has no scheme: it counts as {quoted(['https://' + endpoint])}, as in the Go server"
        findings.warn("kinesis.override_host", what, f"write {quoted(['http://' + endpoint])} for one without TLS")
    else:
        findings.refuse(
            "kinesis.override_host", f"is {quoted([endpoint])}", 'must be a URL, such as "http://127.0.0.1:4566"'
        )


def _check_zmq(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    zmq = config.zmq
    if zmq is None:
        return
    if not re.fullmatch(r"(tcp|ipc|inproc|tipc|pgm|epgm|ws|wss|vmci|norm)://.+", zmq.addr):
        what = f"is {quoted([zmq.addr])}" if zmq.addr else "is missing"
        findings.refuse("zmq.addr", what, 'must be an address to bind to, such as "tcp://127.0.0.1:5284"')
    if zmq.server_key_json_path is not None:
        fix = 'must be a JSON file {"public": "...", "secret": "..."} with z85 keys of 40 characters'
        keys = _read_json(zmq.server_key_json_path, "zmq.server_key_json_path", fix, findings)
        if keys is not None and not (
            isinstance(keys, dict) and all(_is_key(keys.get(name)) for name in ("public", "secret"))
        ):
            findings.refuse("zmq.server_key_json_path", f"{zmq.server_key_json_path} holds no pair of keys", fix)
    if zmq.allowed_public_keys_json_path is not None:
        path = "zmq.allowed_public_keys_json_path"
        fix = "must be a JSON file with a list of z85 keys of 40 characters"
        allowed = _read_json(zmq.allowed_public_keys_json_path, path, fix, findings)
        if allowed is not None and not (isinstance(allowed, list) and all(map(_is_key, allowed))):
            findings.refuse(path, f"{zmq.allowed_public_keys_json_path} holds no list of keys", fix)
        if zmq.server_key_json_path is None:
            findings.refuse(
                path, "has no effect without a server key: everybody would be let in", "add zmq.server_key_json_path"
            )


def _is_key(value: object) -> bool:
    return isinstance(value, str) and _Z85_KEY.fullmatch(value) is not None


def _read_json(file: Path, path: str, fix: str, findings: Findings) -> object:
    """The value in a JSON file; None, and a problem, when there is none."""
    try:
        value: object = json.loads(read_regular_file(file).decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        findings.refuse(path, f"{file} cannot be read: {reason(error)}", fix)
        return None
    except json.JSONDecodeError as error:
        findings.refuse(path, f"{file} is not JSON (line {error.lineno})", fix)
        return None
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list
        findings.refuse(path, f"{file} is JSON of another kind", fix)
        return None
    return value if value is not None else {}


def _check_redis(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    redis = config.redis
    if redis is None:
        return
    if not redis.addrs:
        findings.refuse("redis.addrs", "is empty", 'must be a list of servers, such as ["127.0.0.1:6379"]')
    for index, address in enumerate(redis.addrs):
        if not is_host_and_port(f"localhost{address}" if address.startswith(":") else address):
            findings.refuse(f"redis.addrs[{index}]", f"is {quoted([address])}", "must be host:port")
    if not (redis.publish_vin_topics or redis.subscriber_set_prefix):
        what = "has neither publish_vin_topics nor subscriber_set_prefix: no record would be published"
        findings.refuse("redis", what, "set one of them, or both")
    if redis.publish_timeout is not None and 0 < redis.publish_timeout < _MILLISECOND_NS:
        what = f"is {redis.publish_timeout} nanoseconds, within which no publish can finish"
        findings.refuse("redis.publish_timeout", what, "two seconds are 2000000000")
    if redis.sentinel is not None and not redis.sentinel.master_name:
        findings.refuse("redis.sentinel.master_name", "is missing", "name the master as the sentinels do")
    if redis.sentinel is not None and redis.cluster_mode:
        findings.refuse("redis.sentinel", "a cluster has no sentinels", "remove it, or redis.cluster_mode")
    if redis.db and redis.cluster_mode:
        findings.warn("redis.db", "has no effect: a cluster has database 0 only", "remove it, or redis.cluster_mode")
    if redis.override_tls_server_name and redis.tls is None:
        findings.warn("redis.override_tls_server_name", "has no effect without TLS", "add redis.tls, which may be empty")
    check_client_tls(redis.tls, "redis.tls", findings)


def _check_mqtt(config: Config, findings: Findings, _surroundings: Surroundings) -> None:
    mqtt = config.mqtt
    if mqtt is None:
        return
    # not before: a sink that is not used is not imported
    from fleetgw.adapters.sinks.mqtt.broker_url import WHAT_IS_RIGHT, UnusableBroker, read_broker
    from fleetgw.adapters.sinks.mqtt.topics import NOT_IN_TOPICS

    try:
        broker = read_broker(mqtt.broker)
    except UnusableBroker as error:
        what = f"is no address of a broker: {error}" if mqtt.broker else "is missing"
        findings.refuse("mqtt.broker", what, WHAT_IS_RIGHT)
    else:
        if broker.scheme and not broker.is_tls and mqtt.tls is not None:
            secure = "wss" if broker.is_websocket else "mqtts"
            what = f'begins with "{broker.scheme}://", but there is mqtt.tls'
            findings.refuse("mqtt.broker", what, f'write "{secure}://", or remove mqtt.tls')
    check_client_tls(mqtt.tls, "mqtt.tls", findings)
    if not mqtt.topic_base:
        findings.warn("mqtt.topic_base", "is empty: topics begin with /", 'name one, such as "telemetry"')
    elif NOT_IN_TOPICS.search(mqtt.topic_base):
        fix = "must not hold +, #, control characters or Unicode's non-characters: a broker ends the connection over them"
        findings.refuse("mqtt.topic_base", f"is {quoted([mqtt.topic_base])}", fix)


_CHECKS = {
    "kafka": check_kafka,
    "kinesis": _check_kinesis,
    "pubsub": _check_pubsub,
    "zmq": _check_zmq,
    "redis": _check_redis,
    "mqtt": _check_mqtt,
}
