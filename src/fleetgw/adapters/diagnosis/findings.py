"""Short constructors of findings."""

from fleetgw.domain.ports import Finding, Verdict


def good(what: str) -> Finding:
    """A check that passed."""
    return Finding(Verdict.GOOD, what)


def worth_a_look(what: str, fix: str) -> Finding:
    """A check that passed, but that an operator should look at."""
    return Finding(Verdict.WORTH_A_LOOK, what, fix)


def will_not_work(what: str, fix: str) -> Finding:
    """A check that failed, or is going to fail."""
    return Finding(Verdict.WILL_NOT_WORK, what, fix)
