"""The profiler port: the Go server's paths, with the figures of a Python process."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, succeed
from twisted.web import http

from fleetgw.adapters.monitoring.cpu_sampler import CpuSampler
from fleetgw.adapters.monitoring.inspection import memory_summary, thread_stacks
from fleetgw.adapters.monitoring.pages import ANY_METHOD, Access, Answer, PageRefusal, Route, json_answer
from fleetgw.adapters.monitoring.site import PageSite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.server import Site

    from fleetgw.adapters.listening.refusals import Refusals
    from fleetgw.adapters.metrics.runtime import CollectionPauses
    from fleetgw.adapters.monitoring.client_faults import ClientFaults
    from fleetgw.adapters.monitoring.pages import Page, PageRequest
    from fleetgw.adapters.process.reactor import IThreadedReactor
    from fleetgw.domain.ports import ILog


MAX_CONNECTIONS = 8
"""Maximum number of connections to the port, from all addresses together."""

PROFILE_S, MAX_PROFILE_S = 30, 300
"""Duration of a CPU profile in seconds: the default and the maximum."""

FILE_TIMEOUT_S = 2.0
"""Longest wait for the live profiler's file when the gateway stops."""

_INDEX = b"""\
/debug/pprof/profile?seconds=30  CPU profile, as collapsed stacks
/debug/pprof/heap                memory
/debug/pprof/threads             stacks of all threads
/gc_stats                        garbage collection
/live_profiler?mode=on           CPU profile, written to monitoring.profiling_path at mode=off
"""


class Profiler:
    """Inspects the running process on request; it costs nothing without a request.

    :param profiling_path: the file of the live profiler; empty: there is none.
    """

    def __init__(
        self,
        pauses: CollectionPauses,
        profiling_path: str,
        reactor: IThreadedReactor,
        log: ILog,
        sampler: Callable[[Callable[[str], None]], CpuSampler] = CpuSampler,
    ) -> None:
        self._pauses = pauses
        self._profiling_path = profiling_path
        self._reactor = reactor
        self._log = log
        self._sampler = sampler
        self._profile_under_way: Deferred[Answer] | None = None
        self._inspecting = False
        self._live: CpuSampler | None = None
        self._written: Deferred[None] = succeed(None)

    @property
    def routes(self) -> Sequence[Route]:
        """Of the profiler port."""
        return (
            _route("/gc_stats", self._gc_stats),
            _route("/live_profiler", self._live_profiler),
            _route("/debug/pprof/", lambda _: Answer(_INDEX)),
            _route("/debug/pprof/profile", self.profile),
            _route("/debug/pprof/heap", lambda _: self._inspect(memory_summary)),
            _route("/debug/pprof/threads", lambda _: self._inspect(thread_stacks)),
        )

    def start(self) -> Deferred[None]:
        """Do nothing: profiles start on request. Fires at once."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """End every profile. Fires when the live profiler's file is written, or after ``FILE_TIMEOUT_S``. Never fails."""
        if self._profile_under_way is not None:
            self._profile_under_way.cancel()
        self._end_live()
        waiter: Deferred[None] = Deferred()
        self._written.chainDeferred(waiter)
        waiter.addTimeout(FILE_TIMEOUT_S, self._reactor)
        return waiter.addErrback(lambda _timed_out: None)

    def _gc_stats(self, _request: PageRequest) -> Answer:
        pauses = self._pauses
        last = datetime.fromtimestamp(pauses.last_end_ns / 1e9, UTC).isoformat() if pauses.last_end_ns else None
        stats = {
            "LastGC": last,
            "NumGC": pauses.count,
            "PauseTotal": pauses.total_ns,
            "Generations": gc.get_stats(),
        }
        return json_answer(stats)

    def _live_profiler(self, request: PageRequest) -> Answer:
        if not self._profiling_path:
            return json_answer({"error": "monitoring.profiling_path is not configured"}, http.NOT_ALLOWED)
        mode = request.query.get("mode", "")
        if not mode:
            return json_answer({"error": "say which mode: on or off"}, http.BAD_REQUEST)
        wanted = mode == "on"
        if wanted == (self._live is not None):
            return Answer(b"", http.NOT_MODIFIED)
        if wanted:
            self._begin_live()
        else:
            self._end_live()
        return json_answer({"mode": "on" if wanted else "off"})

    def _begin_live(self) -> None:
        written: Deferred[None] = Deferred()
        self._written = written
        self._live = self._sampler(lambda text: self._write(text, written))

    def _end_live(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.end()

    def _write(self, text: str, written: Deferred[None]) -> None:
        """Write the file; in the sampler's thread."""
        error = ""
        try:
            Path(self._profiling_path).write_text(text, encoding="utf-8", errors="replace")
        except (OSError, ValueError) as problem:  # ValueError: a NUL in the path
            error = str(problem)
        self._reactor.callFromThread(self._report, error, written)

    def _report(self, error: str, written: Deferred[None]) -> None:
        if error:
            self._log.error("profiling_file_error", error=error)
        written.callback(None)

    def profile(self, request: PageRequest, default_s: int = PROFILE_S) -> Deferred[Answer]:
        """Take a CPU profile for the request's parameter ``seconds``.

        :raises PageRefusal: they are none, or another profile is under way.
        """
        seconds = request.whole("seconds", default_s, MAX_PROFILE_S)
        if self._profile_under_way is not None:
            raise _busy()

        def end(_answer: Deferred[Answer]) -> None:
            if timer.active():
                timer.cancel()
            sampler.end()

        def sampled(collapsed: str) -> None:
            self._profile_under_way = None
            if not answer.called:  # else the client has gone
                answer.callback(Answer(collapsed.encode("utf-8", "replace")))

        answer: Deferred[Answer] = Deferred(end)
        sampler = self._sampler(lambda collapsed: self._reactor.callFromThread(sampled, collapsed))
        timer = self._reactor.callLater(seconds, sampler.end)
        self._profile_under_way = answer
        return answer

    def _inspect(self, inspection: Callable[[], str]) -> Deferred[Answer]:
        if self._inspecting:
            raise _busy()
        self._inspecting = True
        answer: Deferred[Answer] = Deferred()

        def inspect() -> None:
            try:
                made = Answer(inspection().encode("utf-8", "replace"))
            except Exception as error:  # for instance a file in /proc that this system does not have
                made = Answer(f"{type(error).__name__}: {error}\n".encode(), http.INTERNAL_SERVER_ERROR)
            self._reactor.callFromThread(inspected, made)

        def inspected(made: Answer) -> None:
            self._inspecting = False
            answer.callback(made)

        self._reactor.callInThread(inspect)
        return answer


def make_profiler_site(profiler: Profiler, reactor: IReactorTime, refusals: Refusals, faults: ClientFaults) -> Site:
    """Serve the profiler's pages."""
    return PageSite(
        profiler.routes,
        reactor,
        refusals,
        faults,
        max_connections=MAX_CONNECTIONS,
        max_connections_per_address=MAX_CONNECTIONS,
    )


def _busy() -> PageRefusal:
    fix = "ask again once it has ended"
    return PageRefusal("another request of this kind is under way", fix, http.SERVICE_UNAVAILABLE)


def _route(path: str, page: Page) -> Route:
    """A page of the profiler port, which answers whoever reaches it, by any method, as the Go server does."""
    return Route(path, page, Access.PROBE, ANY_METHOD)
