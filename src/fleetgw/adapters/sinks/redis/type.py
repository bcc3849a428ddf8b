"""The declaration of the sink ``redis``."""

from fleetgw.adapters.sinks.redis.checks import check_redis
from fleetgw.adapters.sinks.redis.settings import Redis
from fleetgw.adapters.sinks.sink_type import SinkType, imported

REDIS = SinkType(
    name="redis",
    settings=Redis,
    make=imported("fleetgw.adapters.sinks.redis.sink:RedisSink", "redis"),
    needs_section=True,
    check=check_redis,
    certificate_keys=[("tls", "server_cert")],
    make_probe=imported("fleetgw.adapters.sinks.redis.probe:redis_probe", "redis"),
)
