"""The ledger: what it reads from samples, and each equation."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.ledger import Ledger, NoLedger, Sample, imbalances, read_ledger

V_KAFKA = {"record_type": "V", "dispatcher": "kafka"}

BALANCED = (
    Sample("record_total", {"record_type": "V"}, 21.0),
    Sample("ledger_acked_total", {"record_type": "V"}, 10.0),
    Sample("ledger_duplicates_total", {"record_type": "V"}, 1.0),
    Sample("ledger_unacked_total", {"record_type": "V", "reason": "full"}, 2.0),
    Sample("ledger_unacked_total", {"record_type": "V", "reason": "disconnected"}, 3.0),
    Sample("ledger_awaiting_records", {"record_type": "V"}, 5.0),
    Sample("ledger_taken_total", V_KAFKA, 30.0),
    Sample("ledger_refused_total", V_KAFKA, 100.0),
    Sample("ledger_retried_total", V_KAFKA, 200.0),
    Sample("ledger_replayed_total", V_KAFKA, 8.0),
    Sample("ledger_delivered_total", V_KAFKA, 9.0),
    Sample("ledger_dead_letters_total", {**V_KAFKA, "kept": "store"}, 1.0),
    Sample("ledger_dead_letters_total", {**V_KAFKA, "kept": "vehicle"}, 2.0),
    Sample("ledger_unheard_total", V_KAFKA, 4.0),
    Sample("ledger_given_up_total", V_KAFKA, 6.0),
    Sample("ledger_held_records", V_KAFKA, 8.0),
    Sample("ledger_left_total", V_KAFKA, 12.0),
    Sample("ledger_read_total", V_KAFKA, 3.0),
    Sample("ledger_skipped_total", V_KAFKA, 4.0),
    Sample("ledger_spooled_records", V_KAFKA, 5.0),
    Sample("lost_records_total", {**V_KAFKA, "reason": "damaged"}, 0.0),
    Sample("lane_held_records", {"dispatcher": "kafka"}, 8.0),
    Sample("lane_unread_positions", {"dispatcher": "kafka"}, 7.0),
    Sample("uptime_sec", {}, 5.0),
)
BESIDE = {"ledger_refused_total", "ledger_retried_total", "ledger_replayed_total", "lost_records_total", "uptime_sec"}
BOUND = "lane_unread_positions"


def changed(name: str, by: float, labels: Mapping[str, str] | None = None) -> Ledger:
    """The balanced ledger with the first sample of a name (and labels) changed."""
    samples = [*BALANCED]
    index = next(i for i, each in enumerate(samples) if each.name == name and labels in (None, each.labels))
    samples[index] = samples[index]._replace(value=samples[index].value + by)
    return read_ledger(samples)


def test_each_account_is_read() -> None:
    ledger = read_ledger(BALANCED)
    vehicles, queue = ledger.types["V"], ledger.sinks["V", "kafka"]
    assert (vehicles.received, vehicles.acked, vehicles.duplicates, vehicles.awaiting) == (21, 10, 1, 5)
    assert vehicles.unacked == {"full": 2, "disconnected": 3}
    assert (queue.taken, queue.refused, queue.retried, queue.replayed) == (30, 100, 200, 8)
    assert (queue.delivered, queue.unheard, queue.given_up, queue.held) == (9, 4, 6, 8)
    assert queue.dead_letters == {"store": 1, "vehicle": 2}
    assert (queue.left, queue.read, queue.skipped, queue.spooled) == (12, 3, 4, 5)
    assert (ledger.queues["kafka"].held, ledger.queues["kafka"].unread) == (8, 7)
    assert (ledger.lost, [*map(str, imbalances(ledger))]) == (0, [])


@pytest.mark.parametrize(
    "sample", [each for each in BALANCED if each.name not in BESIDE | {BOUND}], ids=lambda each: each.name
)
@pytest.mark.parametrize("by", [1, -1])
def test_each_term_belongs_to_an_equation(sample: Sample, by: int) -> None:
    found = imbalances(changed(sample.name, by, sample.labels))
    assert {abs(each.off_by) for each in found} == {1}


@pytest.mark.parametrize("name", sorted(BESIDE))
def test_accounts_beside_the_equations_do_not_unbalance_the_books(name: str) -> None:
    assert not imbalances(changed(name, 1))


def test_an_imbalance_says_where_and_by_how_much() -> None:
    assert [*map(str, imbalances(changed("ledger_delivered_total", 2)))] == [
        "V to kafka: taken 30 = delivered 11 + dead letters 3 + unheard 4 + given up 6 + held 8 is off by -2"
    ]
    assert [*map(str, imbalances(changed("ledger_acked_total", -1)))] == [
        "V: received 21 = acked 9 + duplicates 1 + unacked 5 + awaiting 5 is off by +1"
    ]
    assert [*map(str, imbalances(changed("lane_held_records", 3)))] == [
        "all to kafka: the queue's records 11 = held 8 is off by +3"
    ]


def test_no_more_may_wait_in_the_spool_than_is_unread_there() -> None:
    assert not imbalances(changed("lane_unread_positions", -2))
    assert [*map(str, imbalances(changed("lane_unread_positions", -3)))] == [
        "all to kafka: spooled 5 <= unread positions 4 is off by +1"
    ]


def test_a_negative_account_is_off() -> None:
    samples = [
        Sample("record_total", {"record_type": "V"}, 1),
        Sample("ledger_acked_total", {"record_type": "V"}, 2),
        Sample("ledger_awaiting_records", {"record_type": "V"}, -1),
    ]
    assert [*map(str, imbalances(read_ledger(samples)))] == ["V: awaiting -1 >= 0 is off by -1"]


def test_losses_are_summed_over_types_sinks_and_reasons() -> None:
    samples = [
        Sample("lost_records_total", {"record_type": record_type, "dispatcher": sink, "reason": reason}, 1)
        for record_type in ("V", "alerts")
        for sink in ("kafka", "redis")
        for reason in ("stopped", "damaged")
    ]
    assert read_ledger([*BALANCED, *samples]).lost == 8


def test_metrics_without_a_ledger_are_told_apart() -> None:
    with pytest.raises(NoLedger, match="ledger_acked_total"):
        read_ledger(
            [Sample("record_total", {"record_type": "V"}, 21.0), Sample("lane_held_records", {"dispatcher": "a"}, 0)]
        )


@given(st.permutations(BALANCED))
def test_the_order_of_samples_does_not_matter(samples: list[Sample]) -> None:
    assert read_ledger(samples) == read_ledger(BALANCED)
