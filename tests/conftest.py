from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore tests that take minutes or start real brokers, unless the command line names their file or folder.

    ``make test-brokers``, ``make test-faults`` and ``make test-monitoring`` do.
    """
    if not any(map(collection_path.match, ("test_broker*.py", "tests/faults", "tests/prometheus"))):
        return None
    named = {Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args}
    return None if collection_path in named or any(collection_path in path.parents for path in named) else True
