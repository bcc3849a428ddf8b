"""Makes the allow list of a configuration, with the adapter of its source."""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING

from fleetgw.adapters.allow_list.entries import MAX_BYTES
from fleetgw.adapters.allow_list.kept_answer import KeptAnswer
from fleetgw.adapters.allow_list.watch import AllowListWatch
from fleetgw.adapters.text.addresses import split_address
from fleetgw.domain.allow_list import AllowList
from fleetgw.domain.errors import ConfigurationError, Problem

if TYPE_CHECKING:
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.app.config.sections import Config
    from fleetgw.app.config.vehicles import Allow, AllowRedis
    from fleetgw.domain.ports import IAllowListSource, ILog, IMetrics

KEPT_ANSWER = "allow-list/last-answer.json"
"""File of the last answer, within ``operations.folder``: in a folder of its own, as the source may be a file beside it."""


def make_allow_list(config: Config, reactor: IThreadedReactor, metrics: IMetrics, log: ILog) -> AllowListWatch | None:
    """Make the list where there is one; nothing is read yet.

    :raises ConfigurationError: the client of the source is not installed.
    """
    allow = config.vehicles.allow
    if allow is None:
        return None
    source, folder = make_source(allow, reactor), config.operations.folder
    identity = sha256((allow.url or source.name).encode()).hexdigest()  # the name of a URL has its secrets masked
    kept = None if folder is None else KeptAnswer(folder / KEPT_ANSWER, identity, time.time)
    return AllowListWatch(source, AllowList(allow.stale_s), reactor, log, metrics, kept)


def make_source(allow: Allow, reactor: IThreadedReactor) -> IAllowListSource:
    """Make the adapter of a source that has been checked; raises as ``make_allow_list``."""
    if allow.file is not None:
        from fleetgw.adapters.allow_list.file import AllowListFile

        return AllowListFile(allow.file, reactor)
    if allow.redis is not None:
        return _make_set(allow.redis, allow.every_s, reactor)
    # Twisted's HTTP client takes a tenth of a second to import
    from fleetgw.adapters.allow_list.http_endpoint import AllowListEndpoint
    from fleetgw.adapters.certificates.server_tls import ServerTls
    from fleetgw.adapters.http_client.client import HttpClient

    client = HttpClient(reactor, ServerTls.of(allow.tls), MAX_BYTES)
    return AllowListEndpoint(allow.url, client, reactor, allow.every_s, allow.authorization)


def _make_set(redis: AllowRedis, every_s: float, reactor: IThreadedReactor) -> IAllowListSource:
    try:
        from fleetgw.adapters.allow_list.redis_set import AllowListSet
    except ImportError as error:
        what = "needs the client library redis, which is not installed"
        raise ConfigurationError([Problem("vehicles.allow.redis", what, "pip install 'fleetgw[redis]'")]) from error
    host, port = split_address(redis.address, 0)
    return AllowListSet(host, port, redis.key, reactor, every_s, redis.db, redis.username or None, redis.password, redis.tls)
