"""The sections of single sinks and of Airbrake: as the Go server's files have them, and our own keys."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from fleetgw.adapters.settings.values import Natural, Pause, Positive, Seconds, Secret

Nanoseconds = Annotated[int, Meta(ge=0)]


class ClientTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS towards a server that we are a client of."""

    ca_file: Annotated[Path | None, Meta(description="PEM file of the authorities that the server is verified with.")] = None
    server_cert: Annotated[Path | None, Meta(description="PEM file of our own (client) certificate.")] = None
    server_key: Annotated[Path | None, Meta(description="PEM file of that certificate's private key.")] = None


class Kinesis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Amazon Kinesis. Credentials and region come from the usual AWS places."""

    max_retries: Annotated[
        Natural | None,
        Meta(
            description="How often a record that the stream had no room for is sent again; default, and with -1: 3.",
            extra={"as_left_out": (-1,)},
        ),
    ] = None
    override_host: Annotated[
        str | None, Meta(description="Endpoint in place of Amazon's: a URL, or `host:port` for HTTPS.")
    ] = None
    streams: Annotated[
        dict[str, str],
        Meta(
            description="Record type to stream name; default `<namespace>_<record type>`. The environment variable "
            "`KINESIS_STREAM_<TYPE>`, the type in capitals, wins over it."
        ),
    ] = {}
    max_requests: Annotated[Positive, Meta(description="Requests under way at a time, for each stream.")] = 4
    max_record_kib: Annotated[
        Positive, Meta(description="Largest record, in KiB, that the streams take: payload and partition key.")
    ] = 1024
    delivery_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its confirmation.")] = 30


class Pubsub(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Google Cloud Pub/Sub."""

    gcp_project_id: Annotated[str, Meta(description="The project that owns the topics.")] = ""
    ordering_by_vehicle: Annotated[
        bool,
        Meta(description="Give each message its vehicle as ordering key; subscriptions must ask for message ordering too."),
    ] = False
    endpoint: Annotated[
        str | None,
        Meta(description="`host:port` in place of `pubsub.googleapis.com:443`, such as that of a region."),
    ] = None
    max_requests: Annotated[
        Positive | None,
        Meta(description="Requests under way at a time, for each topic; default 4, with `ordering_by_vehicle` 64."),
    ] = None
    delivery_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its confirmation.")] = 30


class Zmq(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A ZeroMQ PUB socket."""

    addr: Annotated[str, Meta(description="Where to bind, such as `tcp://127.0.0.1:5284`.")] = ""
    server_key_json_path: Annotated[
        Path | None, Meta(description="JSON file with the z85 keys `secret` and `public`; turns CURVE on.")
    ] = None
    allowed_public_keys_json_path: Annotated[
        Path | None, Meta(description="JSON file with a list of the z85 public keys of the clients let in.")
    ] = None
    verbose: Annotated[bool, Meta(description="Log the socket's events.")] = False
    high_water_mark: Annotated[
        Positive, Meta(description="Records kept for a subscriber that is slow; it misses what comes beyond.")
    ] = 1_000
    high_water_bytes: Annotated[
        Positive,
        Meta(description="Bytes kept for all slow subscribers together; beyond, the slowest are cut and miss records."),
    ] = 33_554_432


class RedisPool(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The connections to Redis. A time of zero or less is no limit of its own."""

    pool_size: Annotated[
        Natural | None, Meta(description="Connections to each server; default, and with 0: 1, which all vehicles share.")
    ] = None
    min_idle_conns: Annotated[Natural | None, Meta(description="Has no effect: connections are kept.")] = None
    max_idle_conns: Annotated[Natural | None, Meta(description="Has no effect: connections are kept.")] = None
    max_active_conns: Annotated[
        Natural | None, Meta(description="Connections to each server, at most; 0: as `pool_size` says.")
    ] = None
    read_timeout: Annotated[
        int | None,
        Meta(description="Nanoseconds to wait for an answer; the shorter of it and `publish_timeout` counts."),
    ] = None
    write_timeout: Annotated[int | None, Meta(description="As `read_timeout`: a write ends with its answer.")] = None
    pool_timeout: Annotated[int | None, Meta(description="Has no effect: nobody waits for a connection.")] = None
    conn_max_idle_time: Annotated[
        int | None, Meta(description="Nanoseconds without a record after which a connection is replaced.")
    ] = None
    conn_max_lifetime: Annotated[int | None, Meta(description="Nanoseconds after which a connection is replaced.")] = None


class RedisSentinel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis Sentinel, which knows the master. `redis.addrs` are the sentinels then; they use the TLS of `redis.tls` too."""

    master_name: Annotated[str, Meta(description="What the sentinels call the servers.")] = ""
    username: Annotated[str, Meta(description="User name for the sentinels themselves, where they ask for one.")] = ""
    password: Annotated[Secret | None, Meta(description="Password for the sentinels themselves.")] = None


class Redis(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Redis: one server, a master that sentinels know, or a cluster."""

    addrs: Annotated[
        tuple[str, ...],
        Meta(
            description="Servers, `host:port` each. Several: the cluster that they are nodes of, else the first that "
            "answers and is no replica. With `sentinel`, the sentinels; with `cluster_mode`, some nodes of the cluster."
        ),
    ] = ()
    username: Annotated[str, Meta(description="User name, where the server asks for one.")] = ""
    password: Annotated[
        Secret | None, Meta(description="Password; the environment variable `REDIS_PASSWORD` wins over it.")
    ] = None
    db: Annotated[Natural, Meta(description="Number of the database.")] = 0
    tls: Annotated[ClientTls | None, Meta(description="TLS towards Redis; left out: none.")] = None
    override_tls_server_name: Annotated[
        str | bool | None,
        Meta(description="Name that every server's certificate must carry; `true`: the host of the first address."),
    ] = None
    pool: Annotated[RedisPool | None, Meta(description="The pool of connections.")] = None
    publish_timeout: Annotated[
        Nanoseconds | None, Meta(description="Nanoseconds that one publish may take; default, and with 0: five seconds.")
    ] = None
    cluster_mode: Annotated[
        bool, Meta(description="The addresses are nodes of one cluster; left out: the gateway finds out.")
    ] = False
    sentinel: Annotated[
        RedisSentinel | None, Meta(description="The addresses are sentinels; left out: they are servers.")
    ] = None
    publish_vin_topics: Annotated[
        bool, Meta(description="Publish to the channel `<namespace>_<record type>_{<vin>}` of each vehicle.")
    ] = False
    subscriber_set_prefix: Annotated[
        str, Meta(description="Publish to the live members of the sorted set `<prefix>_<namespace>_<record type>_{<vin>}`.")
    ] = ""


class Mqtt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An MQTT broker."""

    broker: Annotated[
        str,
        Meta(
            description="`host:port` of the broker; `mqtts://host:port` for TLS, `ws://` or `wss://host:port/path` for "
            "MQTT over WebSocket."
        ),
    ] = ""
    client_id: Annotated[str, Meta(description="Client id; empty: the broker chooses.")] = ""
    username: Annotated[str, Meta(description="User name, where the broker asks for one.")] = ""
    password: Annotated[Secret | None, Meta(description="Password, where the broker asks for one.")] = None
    tls: Annotated[
        ClientTls | None,
        Meta(description="TLS towards the broker; left out: none, or with `mqtts://` the system's authorities."),
    ] = None
    protocol_version: Annotated[
        Literal["3.1.1", "5"], Meta(description="Version of MQTT. With 5 the broker says why it does not take a message.")
    ] = "3.1.1"
    max_packet_bytes: Annotated[
        Positive | None, Meta(description="Largest message that the broker takes; with MQTT 5 it says so itself.")
    ] = None
    topic_base: Annotated[str, Meta(description="First part of every topic: `<topic_base>/<vin>/v/<field>`.")] = ""
    qos: Annotated[Literal[0, 1, 2], Meta(description="Quality of service of every publish.")] = 0
    retained: Annotated[bool, Meta(description="Ask the broker to keep the last message of every topic.")] = False
    connect_timeout_ms: Annotated[Natural, Meta(description="Milliseconds that connecting may take; 0: the default.")] = (
        30_000
    )
    publish_timeout_ms: Annotated[
        Natural,
        Meta(
            description="Milliseconds in which the broker has to confirm a record, from when its messages have left; "
            "a second more for each 64 KiB of them. 0: the default."
        ),
    ] = 2_500
    disconnect_timeout_ms: Annotated[
        Natural, Meta(description="Milliseconds to wait for work in flight when closing; 0: the default.")
    ] = 250
    connect_retry_interval_ms: Annotated[
        Natural,
        Meta(
            description="Longest pause between attempts to connect, in milliseconds; while records wait for a broker that "
            "cannot be reached: 1000 at most. 0: the default."
        ),
    ] = 10_000
    keep_alive_seconds: Annotated[Natural, Meta(description="Seconds between keep-alives; 0: the default.")] = 30


class Sqlite(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One SQLite file, the embedded default: no broker needed. Every key has a default."""

    path: Annotated[
        Path | None,
        Meta(
            description="The file; made where it does not exist, its folder is not. "
            "Default: `fleetgw.sqlite3` in the working directory."
        ),
    ] = None
    retention_days: Annotated[Seconds, Meta(description="Days that a record is kept; 0: no limit.")] = 0
    max_size_mb: Annotated[
        Natural, Meta(description="Megabytes (10^6 bytes) that the file may hold, then the oldest records go; 0: no limit.")
    ] = 4096
    synchronous: Annotated[
        Literal["full", "normal"],
        Meta(description="`full`: what is confirmed survives a power cut; `normal`: faster, it may lose the last commits."),
    ] = "full"
    write_timeout_s: Annotated[Pause, Meta(description="Seconds that a record may wait for its commit.")] = 30


class Embedded(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The listeners of a program that runs the gateway inside itself. Every key has a default."""

    listener_timeout_s: Annotated[
        Pause,
        Meta(description="Seconds that a listener may take, and that a record may wait for its vehicle's earlier ones."),
    ] = 30
    attempts: Annotated[
        Natural, Meta(description="How often a record is given to a listener that raises an exception; 0: no limit.")
    ] = 5


class Airbrake(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Error reports to an Airbrake server. Not available in this version: read, checked and not used."""

    host: Annotated[str, Meta(description="URL of the server.")] = ""
    project_id: Annotated[int, Meta(description="Number of the project.")] = 0
    project_key: Annotated[
        Secret | None, Meta(description="Key of the project; the environment variable `AIRBRAKE_PROJECT_KEY` wins over it.")
    ] = None
    environment: Annotated[str, Meta(description="Name of the environment in reports.")] = ""
    tls: Annotated[ClientTls | None, Meta(description="TLS towards the server.")] = None
