"""Checks of the section ``redis``."""

from fleetgw.adapters.settings.certificate_checks import check_client_tls
from fleetgw.adapters.settings.checking import SettingsCheck
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.sinks.redis.settings import Redis
from fleetgw.adapters.text.addresses import is_host_and_port

_MILLISECOND_NS = 1_000_000


def check_redis(redis: Redis, check: SettingsCheck) -> None:
    """Check that there are servers and something to publish, and that no settings exclude each other."""
    if not redis.addrs:
        check.refuse("addrs", "is empty", 'must be a list of servers, such as ["127.0.0.1:6379"]')
    for index, address in enumerate(redis.addrs):
        if not is_host_and_port(f"localhost{address}" if address.startswith(":") else address):
            check.refuse(f"addrs[{index}]", f"is {quoted([address])}", "must be host:port")
    if not (redis.publish_vin_topics or redis.subscriber_set_prefix):
        what = "has neither publish_vin_topics nor subscriber_set_prefix: no record would be published"
        check.refuse("", what, "set one of them, or both")
    if redis.publish_timeout is not None and 0 < redis.publish_timeout < _MILLISECOND_NS:
        what = f"is {redis.publish_timeout} nanoseconds, within which no publish can finish"
        check.refuse("publish_timeout", what, "two seconds are 2000000000")
    if redis.sentinel is not None and not redis.sentinel.master_name:
        check.refuse("sentinel.master_name", "is missing", "name the master as the sentinels do")
    if redis.sentinel is not None and redis.cluster_mode:
        check.refuse("sentinel", "a cluster has no sentinels", f"remove it, or {check.at('cluster_mode')}")
    if redis.db and redis.cluster_mode:
        check.warn("db", "has no effect: a cluster has database 0 only", f"remove it, or {check.at('cluster_mode')}")
    if redis.override_tls_server_name and redis.tls is None:
        check.warn("override_tls_server_name", "has no effect without TLS", f"add {check.at('tls')}, which may be empty")
    check_client_tls(redis.tls, check.at("tls"), check.findings)
