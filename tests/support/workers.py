"""Doubles of ``SerialWorker``: threads that a test runs."""

from collections.abc import Callable


class InlineWorker:
    """Runs a job in the calling thread, at once."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.has_quit = False

    def do(self, job: Callable[[], None]) -> None:
        """Run it."""
        if self.has_quit:
            raise AssertionError("a job after quit")
        job()

    def quit(self) -> None:
        """Take no further job."""
        self.has_quit = True


class HeldWorker:
    """Keeps its jobs until the test runs them.

    :ivar jobs: those not run yet, in the order given.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.jobs: list[Callable[[], None]] = []
        self.has_quit = False

    def do(self, job: Callable[[], None]) -> None:
        """Keep it."""
        self.jobs.append(job)

    def work(self) -> int:
        """Run the jobs given so far; returns their number."""
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job()
        return len(jobs)

    def quit(self) -> None:
        """Take note of it: jobs that were given before still run."""
        self.has_quit = True
