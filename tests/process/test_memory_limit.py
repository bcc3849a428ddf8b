"""The memory limit: of the machine, and of control groups of both versions."""

import tempfile
from pathlib import Path
from unittest import TestCase

from fleetgw.adapters.process.memory_limit import memory_limit_bytes

GIB = 1 << 30


class MachineMemoryTests(TestCase):
    def limit(self, **files: str) -> int | None:
        """Limit with these files; ``__`` stands for a slash."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                file = Path(folder, name.replace("__", "/"))
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return memory_limit_bytes(Path(folder))

    def test_the_machines(self) -> None:
        self.assertEqual(self.limit(proc__meminfo=f"MemTotal:    {8 * GIB // 1024} kB\nMemFree: 1 kB\n"), 8 * GIB)

    def test_a_containers_where_its_group_is_the_mount_point(self) -> None:
        limit = self.limit(
            proc__meminfo=f"MemTotal: {8 * GIB // 1024} kB\n",
            proc__self__cgroup="0::/kubepods/of-the-host\n",
            sys__fs__cgroup__memory__max="x",
            **{"sys/fs/cgroup/memory.max": f"{GIB}\n"},
        )
        self.assertEqual(limit, GIB)

    def test_the_minimum_of_all_groups(self) -> None:
        limit = self.limit(
            proc__self__cgroup="0::/a.slice/b.service\n",
            **{
                "sys/fs/cgroup/a.slice/memory.max": f"{GIB}\n",
                "sys/fs/cgroup/a.slice/b.service/memory.max": "max\n",
            },
        )
        self.assertEqual(limit, GIB)

    def test_version_one(self) -> None:
        limit = self.limit(
            proc__self__cgroup="5:cpu,cpuacct:/x\n4:memory:/docker/1\n",
            **{
                "sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": f"{2 * GIB}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            },
        )
        self.assertEqual(limit, 2 * GIB)

    def test_without_any_limit(self) -> None:
        self.assertIsNone(self.limit())
