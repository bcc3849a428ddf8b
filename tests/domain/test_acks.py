"""Ack policies: truth, simplest form, and the text of the configuration."""

from collections.abc import Iterator
from itertools import chain, combinations
from unittest import TestCase

from hypothesis import given
from hypothesis import strategies as st

from fleetgw.domain.ack_expressions import MAX_CHARACTERS, BadExpression, read_policy
from fleetgw.domain.acks import Accepted, AllOf, AnyOf, Condition, ConfirmedBy, Spooled, holds, joined, names_spool, sinks_of

KAFKA, MQTT, REDIS = ConfirmedBy("kafka"), ConfirmedBy("mqtt"), ConfirmedBy("redis")
SPOOLED = Spooled()
SINKS = ("kafka", "mqtt", "redis")


def subsets() -> Iterator[frozenset[str]]:
    return map(frozenset, chain.from_iterable(combinations(SINKS, count) for count in range(len(SINKS) + 1)))


def text_of(condition: Condition) -> str:
    """An expression with every parenthesis."""
    match condition:
        case ConfirmedBy(sink):
            return sink
        case Spooled():
            return "spooled"
        case AllOf(parts):
            return f"({' and '.join(map(text_of, parts))})"
        case AnyOf(parts):
            return f"({' or '.join(map(text_of, parts))})"


CONDITIONS = st.recursive(
    st.sampled_from([KAFKA, MQTT, REDIS, SPOOLED]),
    lambda parts: st.builds(joined, st.sampled_from([AllOf, AnyOf]), st.lists(parts, min_size=1, max_size=3)),
    max_leaves=8,
)


class ConditionTests(TestCase):
    def test_truth_table(self) -> None:
        condition = AllOf((KAFKA, AnyOf((MQTT, REDIS))))
        true = [sorted(confirmed) for confirmed in subsets() if holds(condition, confirmed)]
        self.assertEqual(true, [["kafka", "mqtt"], ["kafka", "redis"], ["kafka", "mqtt", "redis"]])
        self.assertFalse(holds(AnyOf((MQTT, REDIS)), frozenset({"kafka"})))

    def test_truth_table_with_the_spool(self) -> None:
        for condition, when_spooled, when_not in (
            (SPOOLED, [[], ["kafka"]], []),
            (AllOf((SPOOLED, KAFKA)), [["kafka"]], []),
            (AnyOf((SPOOLED, KAFKA)), [[], ["kafka"]], [["kafka"]]),
            (AllOf((KAFKA, AnyOf((SPOOLED, MQTT)))), [["kafka"]], []),
            (KAFKA, [["kafka"]], [["kafka"]]),
        ):
            for is_spooled, expected in ((True, when_spooled), (False, when_not)):
                with self.subTest(condition, is_spooled=is_spooled):
                    confirmed = ([], ["kafka"])
                    true = [each for each in confirmed if holds(condition, set(each), is_spooled=is_spooled)]
                    self.assertEqual(true, expected)

    def test_whether_a_policy_names_the_spool(self) -> None:
        for policy in (SPOOLED, AllOf((KAFKA, AnyOf((MQTT, SPOOLED))))):
            self.assertTrue(names_spool(policy), policy)
        for policy in (Accepted(), KAFKA, AllOf((KAFKA, MQTT))):
            self.assertFalse(names_spool(policy), policy)
        self.assertEqual([*sinks_of(AllOf((SPOOLED, KAFKA)))], ["kafka"])

    def test_the_simplest_form(self) -> None:
        self.assertEqual(joined(AllOf, [KAFKA]), KAFKA)
        self.assertEqual(joined(AllOf, [KAFKA, KAFKA]), KAFKA)
        self.assertEqual(joined(AllOf, [KAFKA, AllOf((MQTT, REDIS)), MQTT]), AllOf((KAFKA, MQTT, REDIS)))
        self.assertEqual(joined(AllOf, [KAFKA, AnyOf((MQTT, REDIS))]), AllOf((KAFKA, AnyOf((MQTT, REDIS)))))
        with self.assertRaises(ValueError):
            joined(AnyOf, [])

    @given(CONDITIONS)
    def test_a_further_confirmation_never_makes_it_false(self, condition: Condition) -> None:
        for confirmed in subsets():
            for is_spooled in (False, True):
                before = holds(condition, confirmed, is_spooled=is_spooled)
                for more in SINKS:
                    self.assertLessEqual(before, holds(condition, confirmed | {more}, is_spooled=is_spooled))
                self.assertLessEqual(before, holds(condition, confirmed, is_spooled=True))
        self.assertTrue(holds(condition, frozenset(sinks_of(condition)), is_spooled=True))


class ExpressionTests(TestCase):
    def test_words_of_their_own(self) -> None:
        self.assertEqual(read_policy("accepted", SINKS), Accepted())
        self.assertEqual(read_policy("all", SINKS), AllOf((KAFKA, MQTT, REDIS)))
        self.assertEqual(read_policy("any", SINKS), AnyOf((KAFKA, MQTT, REDIS)))
        self.assertEqual(read_policy("any", ["kafka"]), KAFKA)

    def test_and_binds_more_than_or(self) -> None:
        self.assertEqual(read_policy("kafka", SINKS), KAFKA)
        self.assertEqual(read_policy("kafka or mqtt and redis", SINKS), AnyOf((KAFKA, AllOf((MQTT, REDIS)))))
        self.assertEqual(read_policy("(kafka or mqtt)and redis", SINKS), AllOf((AnyOf((KAFKA, MQTT)), REDIS)))
        self.assertEqual(read_policy(" kafka\tand ( mqtt or redis ) ", SINKS), AllOf((KAFKA, AnyOf((MQTT, REDIS)))))
        self.assertEqual(read_policy("((kafka))", SINKS), KAFKA)
        self.assertEqual(read_policy("spooled", SINKS), SPOOLED)
        self.assertEqual(read_policy("spooled and (kafka or spooled)", SINKS), AllOf((SPOOLED, AnyOf((KAFKA, SPOOLED)))))
        self.assertEqual(read_policy(" or ".join(["(" * 16 + "kafka" + ")" * 16] * 2), SINKS), KAFKA)

    @given(CONDITIONS)
    def test_a_written_policy_is_read_back(self, condition: Condition) -> None:
        text = text_of(condition)
        if len(text) <= MAX_CHARACTERS:
            self.assertEqual(read_policy(text, SINKS), condition)

    def test_faults(self) -> None:
        example = 'must be "accepted", "all", "any" or an expression such as "kafka and mqtt"'
        operator = '"and" or "or" must stand between them'
        for text, expected in {
            "": f"lacks a sink at its beginning; {example}",
            "kafka and": f'lacks a sink after "and"; {example}',
            "or kafka": f"lacks a sink at its beginning; {example}",
            "kafka and or mqtt": f'lacks a sink after "and"; {example}',
            "()": f'lacks a sink after "("; {example}',
            "kafka mqtt": f'has "mqtt" after "kafka"; {operator}',
            "(kafka mqtt)": f'has "mqtt" after "kafka"; {operator}',
            "kafka (mqtt)": f'has "(" after "kafka"; {operator}',
            "(kafka or mqtt": 'has a "(" without a ")"; close it',
            "kafka) or mqtt": 'has a ")" without a "("; remove it, or open it before',
            "kafka and zmq": f'names "zmq", to which the type is not routed; {example}',
            "kafka and all": 'has "all" inside an expression; "all" must stand alone',
            "(accepted)": 'has "accepted" inside an expression; "accepted" must stand alone',
            "kafka AND mqtt": f'has "AND" after "kafka"; {operator}',
            "(" * 17 + "kafka" + ")" * 17: "nests parentheses more than 16 deep; write it with fewer parentheses",
            "(" * MAX_CHARACTERS: "nests parentheses more than 16 deep; write it with fewer parentheses",
            "kafka," * 64: "has 384 characters; must have at most 256",
        }.items():
            with self.subTest(text=text), self.assertRaises(BadExpression) as caught:
                read_policy(text, SINKS)
            self.assertEqual(str(caught.exception), expected)

    def test_a_word_that_is_also_the_name_of_a_sink_is_refused(self) -> None:
        for word in ("accepted", "all", "any", "spooled"):
            with self.subTest(word), self.assertRaises(BadExpression) as caught:
                read_policy(word, ["kafka", word])
            self.assertEqual(
                str(caught.exception),
                f'is "{word}", which is a word of policies and also the name of one of the sinks; '
                "give that sink another name",
            )
        with self.assertRaises(BadExpression) as caught:
            read_policy("kafka and spooled", ["kafka", "spooled"])
        self.assertIn('has "spooled", which is a word of policies', str(caught.exception))
        self.assertEqual(read_policy("kafka", ["kafka", "all", "spooled"]), KAFKA)

    def test_the_advice_names_no_sink_that_cannot_stand_in_an_expression(self) -> None:
        for sinks, expected in (
            (["and", "my sink", "a(b)", "kafka"], 'must be "accepted", "all", "any" or an expression such as "kafka"'),
            (["my sink"], 'must be "accepted", "all" or "any": no expression can contain the names of these sinks'),
        ):
            with self.subTest(sinks), self.assertRaises(BadExpression) as caught:
                read_policy("my sink", sinks)
            self.assertEqual(caught.exception.fix, expected)

    def test_an_unknown_word_is_reported(self) -> None:
        with self.assertRaises(BadExpression) as caught:
            read_policy("kafka or reddis", SINKS)
        self.assertEqual(caught.exception.unknown, "reddis")

    @given(st.text(st.sampled_from("()ko ") | st.characters(), max_size=300))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        try:
            policy = read_policy(text, ["k", "o"])
        except BadExpression:
            return
        self.assertIsInstance(policy, (Accepted, ConfirmedBy, Spooled, AllOf, AnyOf))
