"""Findings, said briefly."""

from fleetgw.domain.ports import Finding, Verdict


def good(what: str) -> Finding:
    """All is well."""
    return Finding(Verdict.GOOD, what)


def worth_a_look(what: str, fix: str) -> Finding:
    """It works, but somebody should look at it."""
    return Finding(Verdict.WORTH_A_LOOK, what, fix)


def will_not_work(what: str, fix: str) -> Finding:
    """It does not work, or is going to stop."""
    return Finding(Verdict.WILL_NOT_WORK, what, fix)
