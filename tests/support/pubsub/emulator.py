"""Google's Pub/Sub emulator, a process of its own on the loopback interface."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.broker_process import BrokerProcess


def _jar() -> Path | None:
    """The component ``pubsub-emulator`` of the Google Cloud SDK."""
    gcloud = shutil.which("gcloud")
    if gcloud is None:
        return None
    root = Path(gcloud).resolve().parents[1]
    return next(iter(sorted((root / "platform" / "pubsub-emulator" / "lib").glob("cloud-pubsub-emulator-*.jar"))), None)


def missing() -> str | None:
    """The missing requirement of the emulator, for people; None where all are there."""
    if shutil.which("java") is None:
        return "java not found: install Java 17 (Debian: apt-get install openjdk-17-jre-headless)"
    if _jar() is None:
        return "Pub/Sub emulator not found: install Google's packages google-cloud-cli and google-cloud-cli-pubsub-emulator"
    return None


class Emulator(BrokerProcess):
    """Started by its constructor; keeps nothing but its port over ``kill`` and ``start``."""

    def __init__(self) -> None:
        super().__init__()
        self.start()

    def command(self) -> list[str]:
        """The emulator, in Java."""
        return ["java", "-XX:TieredStopAtLevel=1", "-jar", str(_jar()), "--host=127.0.0.1", f"--port={self.port}"]
