"""Checks of this machine: certificates, ports, open files, memory, the clock."""

from __future__ import annotations

import errno
import resource
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING

from fleetgw.adapters.certificates.bundle import read_bundle
from fleetgw.adapters.diagnosis.blocking import BlockingProbe
from fleetgw.adapters.diagnosis.certificates import authorities_findings, own_certificate_findings
from fleetgw.adapters.diagnosis.findings import good, will_not_work, worth_a_look
from fleetgw.adapters.ingress.hot_path import DESCRIPTION
from fleetgw.adapters.listening.sockets import bind_listener
from fleetgw.adapters.process.memory_limit import memory_limit_bytes
from fleetgw.adapters.settings.spelling import quoted
from fleetgw.app.config.limits import Limits
from fleetgw.app.config.listeners import ListeningAddress, listening_addresses
from fleetgw.app.doctor.checkup import Check
from fleetgw.app.service.descriptors import capacity, descriptors_for
from fleetgw.app.service.listening_errors import explain
from fleetgw.app.service.memory_ceiling import MIB, ceiling_mib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from twisted.internet.interfaces import IReactorFromThreads

    from fleetgw.app.config.loading import LoadedConfig
    from fleetgw.app.config.sections import Config
    from fleetgw.domain.ports import Finding

MOST_OF_MEMORY = 0.7
"""Share of the memory that queues may take without a risk that the kernel kills the process."""

FEW_CONNECTIONS = 1000
STATUS_TIMEOUT_S = 2.0


def host_checks(loaded: LoadedConfig, reactor: IReactorFromThreads) -> list[Check]:
    """The checks that need no broker."""
    config, tls = loaded.config, loaded.config.tls

    def configuration() -> Iterator[Finding]:
        yield good("complete, and nothing in it contradicts itself")
        yield from warnings_of(lambda path: path != "tls.ca_file")
        yield from memory_findings(config, memory_limit_bytes())

    def authorities() -> Iterator[Finding]:
        yield from authorities_findings(tls.ca_file)
        yield from warnings_of(lambda path: path == "tls.ca_file")

    def warnings_of(belongs_here: Callable[[str], bool]) -> Iterator[Finding]:
        for warning in loaded.warnings:
            if belongs_here(warning.path):
                yield worth_a_look(f"{warning.path}: {warning.what}", warning.fix)

    checks = {
        "configuration": configuration,
        "server certificate": lambda: own_certificate_findings(tls.server_cert, tls.server_key),
        "vehicles' authorities": authorities,
        "clock": lambda: clock_findings(config),
        "ports": lambda: port_findings(config),
        "access of operators": lambda: operator_findings(config),
        "open files": lambda: open_file_findings(config.limits, resource.getrlimit(resource.RLIMIT_NOFILE)),
        "hot path": lambda: iter([good(f"in {DESCRIPTION}")]),
    }
    return [Check(subject, BlockingProbe(look, reactor)) for subject, look in checks.items()]


def clock_findings(config: Config, now: datetime | None = None) -> Iterator[Finding]:
    """Whether the clock is later than the beginning of every certificate's validity."""
    now = now or datetime.now(UTC)
    certificates = [
        certificate
        for file in (config.tls.server_cert, config.tls.ca_file)
        for certificate in read_bundle(file.read_bytes()).certificates
    ]
    latest = max(certificate.not_valid_before_utc for certificate in certificates)
    what = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if latest > now:
        fix = "set the clock (timedatectl says whether NTP does): vehicles and brokers are refused while it is wrong"
        yield will_not_work(f"{what}, but a certificate was made on {latest:%Y-%m-%d %H:%M}", fix)
    else:
        yield good(f"{what}, later than any certificate was made")


def port_findings(config: Config) -> Iterator[Finding]:
    """Whether every port is free, or in use by a gateway that runs already."""
    running = _gateway_answers(config)
    for address in listening_addresses(config):
        if address.port:
            yield _port_finding(address, running=running)


def _port_finding(address: ListeningAddress, *, running: bool) -> Finding:
    where = f"{address.key} {address.host or '*'}:{address.port}"
    try:
        bind_listener(address.host, address.port, backlog=1).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE and running:
            return good(f"{where} is in use, by a gateway that runs already: its status page answers")
        reason = explain(address.port, error)
        return will_not_work(f"{where} {reason.what}", reason.fix)
    return good(f"{where} is free")


def operator_findings(config: Config) -> Iterator[Finding]:
    """Access to the page and the tools, and its protection."""
    operations = config.operations
    if not config.status_port:
        yield good("no status port: there is no page, and tools have nothing to ask")
        return
    if operations.hosts:
        what = f"clients of other machines may ask under {quoted(operations.hosts)}, and the status port has no TLS"
        fix = "put a proxy with TLS before it, which passes Host on with its port, and keep others from status_port"
        yield worth_a_look(what, fix)
    else:
        yield good("clients of this machine alone")
    if operations.token is None:
        fix = "set operations.token, such as to the output of openssl rand -hex 16"
        yield worth_a_look("no token: the page and the tools show no vehicle, log or trace", fix)
    else:
        yield good("a token protects what shows vehicles")


def memory_findings(config: Config, limit_bytes: int | None) -> Iterator[Finding]:
    """Findings on the memory that all queues may take together; none where it is sensible."""
    ceiling = ceiling_mib(config)
    sinks = {name for names in config.records.values() for name in names}
    asked = sum(config.delivery.lane(name).queue_bytes for name in sinks) // MIB
    what = f"queues may take {ceiling} MiB together (delivery.memory_mib)"
    if limit_bytes is not None:
        what += f" of the {limit_bytes // MIB} MiB that there are"
    if limit_bytes is not None and ceiling * MIB > MOST_OF_MEMORY * limit_bytes:
        most = int(limit_bytes * MOST_OF_MEMORY) // MIB
        yield worth_a_look(what, f"set delivery.memory_mib to at most {most}, or give the gateway more memory")
    elif asked > ceiling:
        fix = "lower delivery.queue_bytes, or raise delivery.memory_mib where there is memory"
        yield worth_a_look(f"{what}, less than the {asked} MiB of queue_bytes of all sinks", fix)


def _gateway_answers(config: Config) -> bool:
    """Whether the status page answers as a gateway's does."""
    if not config.status_port:
        return False
    connection = HTTPConnection("127.0.0.1", config.status_port, timeout=STATUS_TIMEOUT_S)
    try:
        connection.request("GET", "/status")
        return connection.getresponse().read(100).strip() == b"ok"
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def open_file_findings(limits: Limits, descriptors: tuple[int, int]) -> Iterator[Finding]:
    """Whether there are enough file descriptors for the vehicles.

    :param descriptors: the soft and the hard RLIMIT_NOFILE; the gateway raises the soft limit to the hard one.
    """
    _, hard = descriptors
    if hard == resource.RLIM_INFINITY:
        yield good("no limit (RLIMIT_NOFILE)")
        return
    max_connections = limits.max_connections
    room = capacity(Limits(max_half_open=limits.max_half_open), hard).connections
    what = f"{hard} (RLIMIT_NOFILE, hard): room for about {room} vehicles"
    needed = descriptors_for(max_connections or FEW_CONNECTIONS, limits.max_half_open)
    fix = f"set LimitNOFILE={needed} in the service's unit, or run ulimit -n {needed} as root; this is this shell's limit"
    if max_connections > room:
        yield will_not_work(f"{what}, limits.max_connections is {max_connections}", fix)
    elif not max_connections and room < FEW_CONNECTIONS:
        yield worth_a_look(what, fix)
    elif max_connections:
        yield good(f"{what}, limits.max_connections is {max_connections}")
    else:
        yield good(what)
