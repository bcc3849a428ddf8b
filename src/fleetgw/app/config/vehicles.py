"""The section ``vehicles``, and its checks."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from fleetgw.adapters.secrets.secret import Secret
from fleetgw.adapters.settings.certificate_checks import check_client_tls
from fleetgw.adapters.settings.client_tls import ClientTls
from fleetgw.adapters.settings.findings import Findings
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.adapters.settings.values import Natural, Seconds, Settings
from fleetgw.adapters.text.addresses import is_host_and_port, is_http_url


class AllowRedis(Settings, frozen=True, kw_only=True):
    """A set in Redis whose members are VINs."""

    address: Annotated[
        str,
        Meta(description="`host:port` of the server.", extra={"when_missing": 'name the server, such as "127.0.0.1:6379"'}),
    ]
    key: Annotated[str, Meta(description="Key of the set.", extra={"when_missing": 'name the set, such as "fleet:vins"'})]
    db: Annotated[Natural, Meta(description="Number of the database.")] = 0
    username: Annotated[str, Meta(description="User name; empty: none.")] = ""
    password: Annotated[Secret | None, Meta(description="Password.")] = None
    tls: Annotated[ClientTls | None, Meta(description="TLS towards the server; left out: none.")] = None


class Allow(Settings, frozen=True, kw_only=True):
    """The list of the vehicles that may connect; exactly one of `file`, `url` and `redis` is its source."""

    file: Annotated[
        Path | None,
        Meta(
            description="Text file of one VIN a line (comments after `#`), or JSON as for `url`; read when it has changed."
        ),
    ] = None
    url: Annotated[
        str, Meta(description='URL that answers with a JSON array of VINs, or with `{"vins": [...]}`; empty: none.')
    ] = ""
    redis: Annotated[AllowRedis | None, Meta(description="A set in Redis.")] = None
    authorization: Annotated[
        Secret | None, Meta(description="Value of the header `Authorization` of requests to `url`, such as `Bearer ...`.")
    ] = None
    tls: Annotated[ClientTls | None, Meta(description="TLS towards the server of `url`.")] = None
    every_s: Annotated[
        float, Meta(ge=1, description="Seconds between two readings of `url` or `redis`; a file is looked at every second.")
    ] = 30.0
    stale_s: Annotated[
        Seconds,
        Meta(
            description="Seconds that the last answer holds while the source cannot be read; after them no vehicle can "
            "connect; 0: without limit."
        ),
    ] = 86_400.0


class Vehicles(Settings, frozen=True, kw_only=True):
    """The vehicles that may connect."""

    allow: Annotated[
        Allow | None,
        Meta(
            description="The list of the vehicles that may connect; left out: every vehicle that `tls.ca_file` vouches for."
        ),
    ] = None


def check_vehicles(vehicles: Vehicles, findings: Findings) -> None:
    """The list has one source, and its keys fit it."""
    allow, path = vehicles.allow, "vehicles.allow"
    if allow is None:
        return
    sources = [name for name, given in (("file", allow.file), ("url", allow.url), ("redis", allow.redis)) if given]
    if len(sources) != 1:
        what = f"has {' and '.join(sources)}" if sources else "names no source"
        findings.refuse(path, what, "give exactly one of file, url and redis")
    if allow.url and not is_http_url(allow.url):
        findings.refuse(f"{path}.url", f"is {quoted([allow.url])}", 'must be a URL, such as "https://fleet.example/vins"')
    if not allow.url and allow.authorization is not None:
        findings.refuse(f"{path}.authorization", "has no use without url", "remove it")
    if not allow.url and allow.tls is not None:
        findings.refuse(f"{path}.tls", "has no use without url", "remove it, or use vehicles.allow.redis.tls")
    check_client_tls(allow.tls, f"{path}.tls", findings)
    if allow.redis is not None:
        if not is_host_and_port(allow.redis.address):
            findings.refuse(f"{path}.redis.address", f"is {quoted([allow.redis.address])}", 'must be "host:port"')
        if not allow.redis.key:
            findings.refuse(f"{path}.redis.key", "is empty", "name the set")
        check_client_tls(allow.redis.tls, f"{path}.redis.tls", findings)
