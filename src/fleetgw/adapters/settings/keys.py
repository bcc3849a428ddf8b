"""Keys of real files that are none of the configuration's: comments, old ones without effect, and near names."""

import re
from collections.abc import Collection, Mapping

from fleetgw.adapters.settings.findings import did_you_mean, quoted

_RELIABLE_ACK = 'use reliable_ack_sources, such as {"V": "kafka"}, and remove it'
_FOR_A_SCRIPT = "remove it, or keep it for the script that checks a server's certificate"

OLD_KEYS: Mapping[str, str] = {
    "reliable_ack": _RELIABLE_ACK,
    **{f"{sink}.reliable_ack": _RELIABLE_ACK for sink in ("kinesis", "pubsub", "zmq", "mqtt", "redis")},
    "reliable_ack_workers": "remove it: confirmations need no workers",
    "json_log_handler": "use json_log_enable, and remove it",
    "hostname": _FOR_A_SCRIPT,
    "ca": f"{_FOR_A_SCRIPT}; vehicles' authorities belong in tls.ca_file",
}
"""The paths, in lower case, of keys that the Go server ignores too, and what to do about each."""

_NEAR: Mapping[str, Mapping[str, str]] = {
    "": {
        "metrics": "monitoring.prometheus_metrics_port",
        "metrics_port": "monitoring.prometheus_metrics_port",
        "prometheus_metrics_port": "monitoring.prometheus_metrics_port",
        "prometheus_metrics_host": "monitoring.prometheus_metrics_host",
        "profiler_port": "monitoring.profiler_port",
        "profiling_path": "monitoring.profiling_path",
        "statsd": "monitoring.statsd",
        "verbose": "logger.verbose",
        "topic_prefix": "namespace",
        "health_port": "status_port",
        "ssl": "tls",
        "ca_file": "tls.ca_file",
        "server_cert": "tls.server_cert",
        "server_key": "tls.server_key",
    },
    "tls": {
        **dict.fromkeys(
            ("ca", "ca_cert", "ca_certs", "ca_bundle", "client_ca", "client_ca_file", "client_cas", "root_ca"), "ca_file"
        ),
        **dict.fromkeys(("cert", "cert_file", "certificate", "crt", "tls_cert"), "server_cert"),
        **dict.fromkeys(("key", "key_file", "private_key", "tls_key"), "server_key"),
    },
    "rate_limit": dict.fromkeys(("interval", "message_interval_time_seconds", "message_interval"), "message_interval_time"),
    "pubsub": dict.fromkeys(("project", "project_id", "gcp_project"), "gcp_project_id"),
    "zmq": dict.fromkeys(("address", "bind", "url", "endpoint"), "addr"),
    "kinesis": dict.fromkeys(("endpoint", "endpoint_url", "host"), "override_host"),
    "mqtt": {
        **dict.fromkeys(("host", "url", "server", "brokers", "address"), "broker"),
        **dict.fromkeys(("topic", "topic_prefix", "base_topic"), "topic_base"),
        "user": "username",
        "pass": "password",
        "retain": "retained",
        **dict.fromkeys(("keepalive", "keep_alive"), "keep_alive_seconds"),
    },
    "redis": {**dict.fromkeys(("host", "url", "address", "servers"), "addrs"), "user": "username", "database": "db"},
}
"""By section: names in other programs' style, or of a key's meaning, and the key that is probably meant."""

_REMARKS = frozenset({"comment", "comments", "description", "note", "notes", "readme", "$comment"})


COMMENT_PATTERN = "^(_|//)"


def is_comment(key: str) -> bool:
    """Whether a key is a comment, as files that JSON allows no others have them."""
    return re.match(COMMENT_PATTERN, key) is not None


def what_is_meant(section: str, key: str, known: Collection[str]) -> str:
    """Advise on a key that is unknown.

    :param section: the path of the section that it is in.
    :param known: the section's keys.
    """
    name = key.lower()
    if near := _NEAR.get(section.lower(), {}).get(name):
        return f"did you mean {quoted([near])}?"
    if name in _REMARKS:
        return f"write {quoted(['_' + key])}: a key that begins with _ or // is a comment"
    return did_you_mean(key, known)
