"""Whole connections over TLS: with the functions in C and with their twins, everything seen from outside is equal."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from OpenSSL import SSL

from fleetgw.adapters.codec import payload
from fleetgw.adapters.ingress import frames, tls, tls_records
from fleetgw.adapters.ingress.fast_frames import split_frames
from fleetgw.simulator.certificates import make_authority, make_vehicle
from tests.speedups.conversations import ClientTls, Conversation, Seen
from tests.speedups.system_tls import LIBRARY, SystemTls
from tests.support.gateway_in_memory import VIN, GatewayCase, GatewayInMemory
from tests.support.needed import needed
from tests.support.raw_vehicle import RawClientTls
from tests.support.speedups import speedups

CONVERSATIONS = 100


def use_twins() -> ExitStack:
    """Replace the functions in C by their twins, until the end of the context."""
    twins = tls_records.choose(None)
    with ExitStack() as stack:
        for module in (tls_records, frames):
            stack.enter_context(patch.object(module, "split", split_frames))
        for name, function in twins._asdict().items():
            stack.enter_context(patch.object(tls, name, function))
        stack.enter_context(patch.dict(payload.DECODERS, V=payload._data))
        return stack.pop_all()


class ConversationTests(GatewayCase):
    def setUp(self) -> None:
        if tls_records.receive is not speedups().receive:
            self.skipTest("the twins run in this process")
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.authority = make_authority(datetime.now(UTC), 30)
        self.vehicle = make_vehicle(self.authority, VIN, datetime.now(UTC), 30)
        records = {"V": ["memory"], "alerts": ["memory"]}
        self.in_c, self.in_python = (self.start(authority=self.authority, records=records) for _ in range(2))

    def seen(self, seed: int, gateway: GatewayInMemory, tls: ClientTls) -> list[Seen]:
        gateway.memory_sink().received.clear()
        gateway.log.entries.clear()
        conversation = Conversation(seed, gateway, tls)
        conversation.run()
        return conversation.seen

    def assert_alike(self, make_tls: Callable[[], ClientTls], first_seed: int) -> None:
        """Assert that conversations are alike, and as different from each other as they should be."""
        ends = set()
        for seed in range(first_seed, first_seed + CONVERSATIONS):
            with self.subTest(seed=seed):
                in_c = self.seen(seed, self.in_c, make_tls())
                with use_twins():
                    in_python = self.seen(seed, self.in_python, make_tls())
                for step, (one, other) in enumerate(zip(in_c, in_python, strict=True)):
                    self.assertEqual(one, other, f"step {step}")
                ends.add((in_c[-1].problem, in_c[-1].lost))
        self.assertGreater(len(ends), 6, ends)

    def test_tls_1_2_with_renegotiation(self) -> None:
        context = RawClientTls(self.vehicle, version=SSL.TLS1_2_VERSION).context
        self.assert_alike(lambda: SSL.Connection(context, None), 0)

    def test_tls_1_3(self) -> None:
        context = RawClientTls(self.vehicle, version=SSL.TLS1_3_VERSION).context
        self.assert_alike(lambda: SSL.Connection(context, None), 1000)

    def test_tls_1_3_with_key_updates(self) -> None:
        needed(None if LIBRARY else "the system has no libssl")
        self.assert_alike(lambda: SystemTls(self.vehicle, self.folder), 2000)
