"""The text of ack policies, as in ``kafka and (mqtt or redis)``.

    policy    = "accepted" | "all" | "any" | condition
    condition = both { "or" both }
    both      = part { "and" part }
    part      = name of a sink | "spooled" | "(" condition ")"

``all`` and ``any`` stand for all sinks of the record type, ``spooled`` for the spool. Words are separated by blanks or
parentheses.
"""

import re
from collections.abc import Callable, Sequence

from fleetgw.domain.acks import Accepted, AckPolicy, AllOf, AnyOf, Condition, ConfirmedBy, Spooled, joined

MAX_CHARACTERS = 256
"""The longest expression."""

MAX_NESTING = 16
"""The deepest nesting of parentheses: the reader is recursive."""

ACCEPTED, ALL, ANY = WHOLE_POLICIES = ("accepted", "all", "any")
"""Words that stand alone, for a whole policy."""

SPOOLED = "spooled"
"""The word for the spool, alone or inside an expression."""

AND, OR = "and", "or"
RESERVED = (*WHOLE_POLICIES, SPOOLED, AND, OR)
"""Words with a meaning of their own: no sink of this name can stand in an expression."""

_WORD = re.compile(r"[^\s()]+")
_TOKEN = re.compile(rf"[()]|{_WORD.pattern}")


class BadExpression(ValueError):
    """A text is not an ack policy.

    :ivar what: the fault, as after the name of the key.
    :ivar fix: what would be right.
    :ivar unknown: the word that should be the name of a sink, where that is the fault.
    """

    def __init__(self, what: str, fix: str, unknown: str | None = None) -> None:
        super().__init__(f"{what}; {fix}")
        self.what = what
        self.fix = fix
        self.unknown = unknown


def read_policy(text: str, sinks: Sequence[str]) -> AckPolicy:
    """Read an ack policy.

    :param text: the expression.
    :param sinks: the names of the sinks that the record type is routed to; one or more.
    :raises BadExpression: it is not an expression, or names a sink that is not among ``sinks``.
    """
    if len(text) > MAX_CHARACTERS:
        raise BadExpression(f"has {len(text)} characters", f"must have at most {MAX_CHARACTERS}")
    words = _TOKEN.findall(text)
    ambiguous = SPOOLED if SPOOLED in words else words[0] if len(words) == 1 and words[0] in WHOLE_POLICIES else None
    if ambiguous in sinks:
        verb = "is" if len(words) == 1 else "has"
        what = f'{verb} "{ambiguous}", which is a word of policies and also the name of one of the sinks'
        raise BadExpression(what, "give that sink another name")
    if words == [ACCEPTED]:
        return Accepted()
    if words in ([ALL], [ANY]):
        return joined(AllOf if words == [ALL] else AnyOf, [ConfirmedBy(sink) for sink in sinks])
    return _Reader(words, sinks).whole()


class _Reader:
    """Reads the words of one expression by recursive descent."""

    def __init__(self, words: Sequence[str], sinks: Sequence[str]) -> None:
        self._words = words
        self._sinks = sinks
        self._at = 0
        self._nesting = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self._next() == ")":
            raise BadExpression('has a ")" without a "("', "remove it, or open it before")
        if self._next() is not None:
            raise self._no_operator()
        return condition

    def _either(self) -> Condition:
        return self._series(OR, AnyOf, self._both)

    def _both(self) -> Condition:
        return self._series(AND, AllOf, self._part)

    def _series(self, operator: str, kind: type[AllOf] | type[AnyOf], read: Callable[[], Condition]) -> Condition:
        parts = [read()]
        while self._next() == operator:
            self._at += 1
            parts.append(read())
        return joined(kind, parts)

    def _part(self) -> Condition:
        word = self._next()
        if word is None or word in (")", AND, OR):
            place = f'after "{self._words[self._at - 1]}"' if self._at else "at its beginning"
            raise BadExpression(f"lacks a sink {place}", self._example())
        self._at += 1
        if word == "(":
            return self._rest_of_parentheses()
        if word == SPOOLED:
            return Spooled()
        if word in RESERVED:
            raise BadExpression(f'has "{word}" inside an expression', f'"{word}" must stand alone')
        if word not in self._sinks:
            raise BadExpression(f'names "{word}", to which the type is not routed', self._example(), word)
        return ConfirmedBy(word)

    def _rest_of_parentheses(self) -> Condition:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise BadExpression(f"nests parentheses more than {MAX_NESTING} deep", "write it with fewer parentheses")
        condition = self._either()
        if self._next() is None:
            raise BadExpression('has a "(" without a ")"', "close it")
        if self._next() != ")":
            raise self._no_operator()
        self._at += 1
        self._nesting -= 1
        return condition

    def _no_operator(self) -> BadExpression:
        before, word = self._words[self._at - 1 : self._at + 1]
        return BadExpression(f'has "{word}" after "{before}"', f'"{AND}" or "{OR}" must stand between them')

    def _next(self) -> str | None:
        return self._words[self._at] if self._at < len(self._words) else None

    def _example(self) -> str:
        nameable = [sink for sink in self._sinks if sink not in RESERVED and _WORD.fullmatch(sink)]
        if not nameable:
            return f'must be "{ACCEPTED}", "{ALL}" or "{ANY}": no expression can contain the names of these sinks'
        example = f" {AND} ".join(nameable[:2])
        return f'must be "{ACCEPTED}", "{ALL}", "{ANY}" or an expression such as "{example}"'
