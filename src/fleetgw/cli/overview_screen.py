"""The overview of a gateway, drawn to the size of the terminal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from attrs import frozen
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fleetgw.adapters.text.terminal import printable
from fleetgw.cli.console import Column, fitted_table
from fleetgw.cli.drawing import bar, curve
from fleetgw.cli.figures import count, milliseconds, plural, rate, since, size, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

    from fleetgw.cli.overview import LedgerState, Overview, Sink, Spool

_WIDE = 104
"""Columns of a terminal from which on headings are not shortened."""

_MOST_CURVE = 8
"""Lines of the curve of the rates where the screen has room to spare."""

_BAR_CELLS = 10
_FIGURE_CELLS = 9
_MOST_REASONS = 3

_MOST_TEXT = 3
"""Lines of one reason or remedy, about."""

_LEAST = 6
"""Lines that the two tables get in any case."""

_LINES_BETWEEN = 4
"""Blank lines between the sections, and the last line of the screen."""

_RECORD_COLUMNS = (
    Column("type"),
    Column("received/s", is_number=True),
    Column("acked/s", spare=3, is_number=True),
    Column("received", spare=1, is_number=True),
    Column("acked", spare=4, is_number=True),
    Column("signals", spare=2, is_number=True),
)

_Lines = list[list[Segment]]
_STATES = {
    "ok": ("●", "green"),
    "ready": ("●", "green"),
    "starting": ("◐", "yellow"),
    "degraded": ("◐", "yellow"),
    "draining": ("◐", "yellow"),
}
_BAD = ("○", "bold red")
_NOTE, _NAME, _HEADER = "dim", "bold", "dim"


@frozen
class OverviewScreen:
    """Draws an overview in the console's width.

    :ivar is_full: whether it is drawn in the console's height, too.
    :ivar trouble: the reason why the overview is old, if it is.
    """

    overview: Overview
    is_full: bool = False
    trouble: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the sections; of record types and sinks those that the height has no room for are left out, and counted."""
        width, height = options.max_width, options.max_height if self.is_full else 0

        def drawn(*parts: RenderableType) -> _Lines:
            return [line for part in parts for line in console.render_lines(part, options, pad=False)]

        def table(columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> Table:
            empty = partial(Table, box=None, pad_edge=False, header_style=_HEADER, padding=(0, 2, 0, 0))
            return fitted_table(console, width, empty, columns, rows)

        top = drawn(*self._top(width))
        figures = drawn(*self._figures(width, 1))
        records = drawn(table(_RECORD_COLUMNS, [*self._record_rows()]))
        sinks = drawn(table(_sink_columns(is_wide=width >= _WIDE), [*self._sink_rows()]), *self._remedies(width))
        bottom = drawn(*self._bottom())
        if self.is_full:
            room = max(_LEAST, height - len(top) - len(figures) - len(bottom) - _LINES_BETWEEN)
            sinks = _cut(sinks, max(room - len(records), room // 2))
            records = _cut(records, room - len(sinks))
            spare = room - len(sinks) - len(records)
            figures = drawn(*self._figures(width, min(_MOST_CURVE, 1 + spare // 2)))
        lines = [*top, *figures, [], *sinks, [], *records, [], *bottom]
        if self.is_full:
            lines = [*lines[: height - 1], *([[]] * (height - 1 - len(lines))), *drawn(Text("q quits", _NOTE))]
        for line in lines:
            yield from line
            yield Segment.line()

    def _top(self, width: int) -> Iterator[RenderableType]:
        overview = self.overview
        badge = _badge("no_answer" if self.trouble else overview.health.state)
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(no_wrap=True, overflow="ellipsis")
        head.add_column(justify="right", no_wrap=True, min_width=badge.cell_len)
        name = Text(printable(f"fleetgw {overview.version}"), _NAME)
        for part in (overview.host, f"up {span(overview.uptime_s)}", f"hot path in {overview.hot_path}"):
            name.append(printable(f"  {part}"), _NOTE)
        head.add_row(name, badge)
        yield head
        if self.trouble:
            yield _paragraph(f"{self.trouble}; trying again", "red", width)
        for reason in overview.health.reasons[:_MOST_REASONS]:
            yield _paragraph(reason, "yellow", width)
        yield Text()

    def _figures(self, width: int, curve_lines: int) -> Iterator[RenderableType]:
        """Rates with the curve of the last minutes, latency, vehicles."""
        overview = self.overview
        values = overview.history.received_per_s
        received = sum(each.received_per_s or 0.0 for each in overview.records)
        acked = sum(each.acked_per_s or 0.0 for each in overview.records)
        indent = len(_label("")) + _FIGURE_CELLS + 2
        *above, last = curve(values, max(1, width - indent), curve_lines)
        for line in above:
            yield Text(" " * indent + line, "cyan", no_wrap=True)
        yield _fact("records", (f"{rate(received)}/s".rjust(_FIGURE_CELLS), "bold cyan"), (f"  {last}", "cyan"))
        latency = overview.ack_latency_ms
        shares = (("50%", latency.p50), ("90%", latency.p90), ("99%", latency.p99)) if latency else ()
        within = "   ".join(f"{share} in {milliseconds(ms)}" for share, ms in shares if ms is not None)
        yield _fact("acked", (f"{rate(acked)}/s".rjust(_FIGURE_CELLS), "bold"), f"  {within}")
        vehicles = overview.vehicles
        more = [plural(vehicles.connections, "connection")] if vehicles.connections != vehicles.connected else []
        if vehicles.paused:
            more.append(f"{vehicles.paused:,} paused")
        yield _fact("vehicles", (count(vehicles.connected).rjust(_FIGURE_CELLS), "bold"), f"  {', '.join(more)}")

    def _record_rows(self) -> Iterator[Sequence[Text]]:
        came = (each for each in self.overview.records if each.received_total)
        for each in sorted(came, key=lambda each: -each.received_total):
            rates = [rate(each.received_per_s), rate(each.acked_per_s)]
            totals = [count(each.received_total), count(each.acked_total), count(each.signals_total)]
            yield Text(printable(each.type), _NAME), *map(Text, [*rates, *totals])

    def _sink_rows(self) -> Iterator[Sequence[Text]]:
        for each in self._sinks():
            fullness = each.held / each.capacity if each.capacity else 0.0
            hue = "red" if fullness >= 0.9 else "yellow" if fullness >= 0.5 else "cyan"
            flow = [count(each.held), rate(each.delivered_per_s), count(each.delivered_total), count(each.retried_total)]
            state = _badge(each.state)
            state.append(f" {since(each.since_ms, self.overview.now_ms)}")
            dead = Text(count(each.dead_letters_total), "red" if each.dead_letters_total else "")
            lane = Text(bar(fullness, _BAR_CELLS).ljust(_BAR_CELLS, "·"), hue)
            yield Text(printable(each.name), _NAME), state, lane, *map(Text, flow), dead

    def _sinks(self) -> Sequence[Sink]:
        """The sinks, those that are not ready first."""
        return sorted(self.overview.sinks, key=lambda each: each.state == "ready")

    def _remedies(self, width: int) -> Iterator[RenderableType]:
        for each in self._sinks():
            if each.fix and each.state != "ready":
                yield _paragraph(f"→ {each.name}: {each.fix}", "cyan", width)

    def _bottom(self) -> Iterator[RenderableType]:
        overview = self.overview
        if overview.spool is not None:
            yield _fact("spool", _spool_text(overview.spool))
        yield _fact("ledger", _ledger_text(overview.ledger))
        refused = [
            f"{kind}: {_by_reason(reasons)}"
            for kind, reasons in (
                ("handshakes", overview.refusals.handshakes),
                ("connections", overview.refusals.connections),
            )
            if any(reasons.values())
        ]
        yield _fact("refused", ("; ".join(refused) or "nobody", "" if refused else _NOTE))
        for each in overview.certificates:
            style = {"ok": "", "expires_soon": "yellow"}.get(each.state, "bold red")
            left = "" if each.days_left is None else f", {plural(int(each.days_left), 'day')} left"
            yield _fact("certificate", (f"{each.name} {each.state.replace('_', ' ')}{left}", style))


def _label(name: str) -> str:
    return name.ljust(13)


def _fact(name: str, *parts: tuple[str, str] | str | Text) -> Text:
    """A line of a name and what there is to say, of texts with their styles; cut at the width."""
    line = _line(_label(name), _NOTE)
    for part in parts:
        match part:
            case Text():
                line.append_text(part)
            case str():
                line.append(printable(part))
            case (text, style):
                line.append(printable(text), style)
    return line


def _line(text: str, style: str) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(printable(text), style)
    return line


def _paragraph(text: str, style: str, width: int) -> Text:
    """A text that goes on in further lines where the width is too small; cut only where it is very long."""
    paragraph = Text(printable(text), style)
    paragraph.truncate(_MOST_TEXT * width, overflow="ellipsis")
    return paragraph


def _badge(state: str) -> Text:
    mark, style = _STATES.get(state, _BAD)
    return Text(printable(f"{mark} {state.replace('_', ' ')}"), style)


def _sink_columns(*, is_wide: bool) -> Sequence[Column]:
    return (
        Column("sink"),
        Column("state"),
        Column("lane", spare=4),
        Column("held", spare=1, is_number=True),
        Column("out/s", spare=3, is_number=True),
        Column("delivered", spare=2, is_number=True),
        Column("retried", spare=5, is_number=True),
        Column("dead letters" if is_wide else "dead", is_number=True),
    )


def _cut(lines: _Lines, most: int) -> _Lines:
    """Lines, of which the last ones are replaced by their number when there are more than ``most``."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], [Segment(f"{len(lines) - most + 1} more lines")]]


def _spool_text(spool: Spool) -> Text:
    said = size(spool.size_bytes)
    style = ""
    if spool.max_bytes:
        said += f" of {size(spool.max_bytes)}  {bar(spool.size_bytes / spool.max_bytes, 10).ljust(10, '·')}"
        style = "red" if spool.size_bytes >= 0.9 * spool.max_bytes else ""
    if spool.unread:
        said += f"  {spool.unread:,} unread"
    if spool.seconds_until_full is not None:
        said += f"  full in {span(spool.seconds_until_full)}"
    return Text(said, style)


def _ledger_text(ledger: LedgerState) -> Text:
    said = [f"LOST {plural(ledger.lost, 'record')} that had been acknowledged"] if ledger.lost else []
    if not ledger.balanced:
        said += ledger.problems or ["it does not balance"]
    if said:
        return Text(printable("; ".join(said)), "bold red")
    text = Text().append("balanced, nothing lost", "green")
    awaiting = sum(each.awaiting for each in ledger.from_vehicles)
    unacked = sum(each.unacked for each in ledger.from_vehicles)
    text.append(f", {awaiting:,} awaiting, {unacked:,} unacked", _NOTE)
    return text


def _by_reason(reasons: Mapping[str, int]) -> str:
    most = sorted(reasons.items(), key=lambda item: -item[1])
    return ", ".join(f"{reason.replace('_', ' ')} {number:,}" for reason, number in most if number)
