"""The allow list as a set in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from zope.interface import implementer

from fleetgw.adapters.allow_list.entries import checked
from fleetgw.adapters.process.call_in_thread import call_in_thread
from fleetgw.adapters.secrets.secret import with_secrets_read_again
from fleetgw.adapters.text.addresses import address
from fleetgw.domain.errors import FleetgwError, UnusableAllowList
from fleetgw.domain.ports import IAllowListSource

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorThreads

    from fleetgw.adapters.settings.client_tls import ClientTls

TIMEOUT_S = 5.0
"""Longest wait for the connection, and for each reply."""

_PAGE = 5_000


@implementer(IAllowListSource)
@define(eq=False)
class AllowListSet:
    """The members of one set, read by SSCAN over a connection of its own each time.

    :ivar password: one in a file is read for each connection.
    :ivar tls: None: no TLS.
    """

    host: str
    port: int
    key: str
    reactor: IReactorThreads
    interval_s: float
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: ClientTls | None = None
    _last: frozenset[str] | None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """See ``IAllowListSource``."""
        return f"redis://{address(self.host, self.port)}/{self.db} {self.key}"

    def read(self) -> Deferred[frozenset[str] | None]:
        """See ``IAllowListSource``. On a thread."""
        return call_in_thread(self.reactor, self._read)

    def _read(self) -> frozenset[str] | None:
        try:
            with self._client() as client:
                members = client.sscan_iter(self.key, count=_PAGE)
                vehicles = checked(member.decode("utf-8", "replace") for member in members)
        except (RedisError, OSError, FleetgwError) as error:
            if isinstance(error, UnusableAllowList):
                raise
            raise UnusableAllowList(f"cannot be read: {error}") from error
        if not vehicles:
            raise UnusableAllowList(
                f"has no set {self.key}, or an empty one, which Redis does not tell apart; add VINs by SADD"
            )
        if vehicles == self._last:
            return None
        self._last = vehicles
        return vehicles

    def _client(self) -> Redis:
        tls = self.tls
        return Redis(
            host=self.host,
            port=self.port,
            db=self.db,
            username=self.username,
            password=with_secrets_read_again(self.password),
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            ssl=tls is not None,
            ssl_ca_certs=_text(tls and tls.ca_file),
            ssl_certfile=_text(tls and tls.server_cert),
            ssl_keyfile=_text(tls and tls.server_key),
            client_name="fleetgw",
            retry=Retry(NoBackoff(), 0),  # the next reading is the retry
        )


def _text(path: object) -> str | None:
    return None if path is None else str(path)
