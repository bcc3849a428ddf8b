from pathlib import Path

import pytest


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Ignore a test that starts a real broker, unless the command line names its file: ``make test-brokers`` does."""
    if not collection_path.match("test_broker*.py"):
        return None
    named = {Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args}
    return None if collection_path in named else True
