"""The gateway as a process under faults: clocks, name servers, signals that come early, pid files, readers of its log."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest import TestCase

from tests.support.deadline import DEADLINE_S
from tests.support.free_ports import free_port
from tests.support.gateway_process import GatewayProcess, run_twistd, write_config

WATCHED_CLOCK = """
import sys, time
wall = time.time
def watched():
    if sys._getframe(1).f_code.co_filename.endswith("twisted/internet/base.py"):
        open("consulted", "a").close()
    return wall()
time.time = watched
"""

HANGING_NAME_SERVER = """
import socket, sys, threading
look_up = socket.getaddrinfo
def hang(host, *arguments, **options):
    if str(host).endswith("broker.example"):
        print("looked up", file=sys.stderr, flush=True)
        threading.Event().wait()
    return look_up(host, *arguments, **options)
socket.getaddrinfo = hang
"""

DECLARATION = """
from fleetgw.adapters.sinks.sink_type import SinkType

TYPE = SinkType(name="mine", settings=dict[str, object], make=Sink)
"""

SLOW_TO_IMPORT = """
import sys
print("importing", file=sys.stderr, flush=True)
sys.stdin.read()
from fleetgw.adapters.sinks.memory.sink import MemorySink as Sink
"""


class ProcessCase(TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class ClockTests(ProcessCase):
    def test_the_reactor_never_looks_at_the_wall_clock(self) -> None:
        with GatewayProcess(self.folder, prelude=WATCHED_CLOCK) as gateway:
            gateway.wait_for("server_listening")
            gateway.signal(signal.SIGHUP)
            gateway.wait_for("certificates_reloaded")
            self.assertEqual(gateway.stop(), 0, gateway.output())
        self.assertFalse((self.folder / "consulted").exists())


class NameServerTests(ProcessCase):
    def ends(self, sink: str, section: dict[str, object], environ: dict[str, str] | None = None) -> None:
        """The process ends though a thread waits for a name server that never answers."""
        config = {sink: section, "records": {"V": [sink]}, "delivery": {"drain_timeout_s": 0.5}}
        if sink == "kafka":
            config["kafka_client"] = "kafka-python"
        with GatewayProcess(self.folder, environ, prelude=HANGING_NAME_SERVER, **config) as gateway:
            gateway.wait_for("server_listening")
            gateway.wait_for_output("looked up")
            self.assertEqual(gateway.stop(), 0, gateway.output())
            self.assertEqual(len(gateway.events("stopped_server")), 1)

    def test_mqtt(self) -> None:
        self.ends("mqtt", {"broker": "broker.example:1883", "topic_base": "t"})

    def test_redis(self) -> None:
        self.ends("redis", {"addrs": ["broker.example:6379"], "publish_vin_topics": True})

    def test_kafka_python(self) -> None:
        self.ends("kafka", {"bootstrap.servers": "broker.example:9092"})

    def test_kinesis(self) -> None:
        credentials = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "eu-west-1"}
        self.ends("kinesis", {"override_host": "http://broker.example:4567"}, credentials)

    def test_a_thread_that_python_would_wait_for(self) -> None:
        (self.folder / "hanging_sink.py").write_text(
            "import threading\n"
            "from concurrent.futures import ThreadPoolExecutor\n"
            "from fleetgw.adapters.sinks.memory.sink import MemorySink\n"
            "class Sink(MemorySink):\n"
            "    def start(self):\n"
            "        ThreadPoolExecutor().submit(threading.Event().wait)\n"
            "        threading.Thread(target=threading.Event().wait).start()\n"
            "        return super().start()\n" + DECLARATION
        )
        sink = {"mine": {"class": "hanging_sink:TYPE"}}
        environ = {"PYTHONPATH": str(self.folder)}
        with GatewayProcess(self.folder, environ, records={"V": ["mine"]}, dispatchers=sink) as gateway:
            gateway.wait_for("server_listening")
            self.assertEqual(gateway.stop(), 0, gateway.output())


class EarlySignalTests(ProcessCase):
    def importing(self, *wrapper: str) -> GatewayProcess:
        """A gateway that is still importing the client library of a sink; it goes on when its input ends."""
        (self.folder / "slow_sink.py").write_text(SLOW_TO_IMPORT + DECLARATION)
        sink = {"mine": {"class": "slow_sink:TYPE"}}
        environ = {"PYTHONPATH": str(self.folder)}
        return GatewayProcess(self.folder, environ, wrapper=wrapper, records={"V": ["mine"]}, dispatchers=sink)

    def test_early_signals_that_can_wait_are_handled_once_the_gateway_runs(self) -> None:
        with self.importing() as gateway:
            gateway.wait_for_output("importing")
            gateway.signal(signal.SIGHUP)
            gateway.signal(signal.SIGUSR1)
            gateway.end_input()
            gateway.wait_for("server_listening")
            gateway.wait_for("certificates_reloaded")
            self.assertEqual(gateway.stop(), 0, gateway.output())

    def test_early_signals_that_end_the_process_end_it_at_once(self) -> None:
        for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
            with self.subTest(number.name), self.importing() as gateway:
                gateway.wait_for_output("importing")
                gateway.signal(number)
                self.assertEqual(gateway.wait(), status)
                self.assertNotIn("Traceback", gateway.output())

    def test_as_the_first_process_of_a_container(self) -> None:
        unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
        tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, check=False)
        if tried.returncode:
            self.skipTest(f"no process can be made the first of its own here: {tried.stderr.strip()}")
        with self.importing(*unshare) as gateway:
            gateway.wait_for_output("importing")
            (child,) = Path(f"/proc/{gateway.pid}/task/{gateway.pid}/children").read_text().split()
            os.kill(int(child), signal.SIGTERM)
            self.assertEqual(gateway.wait(), 0, gateway.output())

    def test_another_program_of_twistd_keeps_its_signals(self) -> None:
        program = (
            "import signal, sys; sys.argv = ['twistd', 'web']\n"
            "before = signal.getsignal(signal.SIGHUP)\n"  # nohup has it ignored
            "from fleetgw.app.service.plugin import GatewayServiceMaker\n"
            "GatewayServiceMaker('fleetgw'); print(signal.getsignal(signal.SIGHUP) is before)"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "True\n")


class PidFileTests(ProcessCase):
    def test_no_pid_file_in_the_foreground_and_a_stale_one_does_no_harm(self) -> None:
        """As in a container, where a killed gateway and the next one have the same number."""
        (self.folder / "twistd.pid").write_text(str(os.getpid()))
        with GatewayProcess(self.folder, options=()) as gateway:
            gateway.wait_for("server_listening")
            self.assertEqual((self.folder / "twistd.pid").read_text(), str(os.getpid()))
            self.assertEqual(gateway.stop(), 0, gateway.output())
        (self.folder / "twistd.pid").unlink()
        with GatewayProcess(self.folder, options=()) as gateway:
            gateway.wait_for("server_listening")
            self.assertFalse((self.folder / "twistd.pid").exists())

    def test_a_pid_file_is_writable_for_its_owner_alone(self) -> None:
        before = os.umask(0)
        self.addCleanup(os.umask, before)
        with GatewayProcess(self.folder, options=("--pidfile", "twistd.pid")) as gateway:
            gateway.wait_for("server_listening")
            file = self.folder / "twistd.pid"
            self.assertEqual((file.read_text(), file.stat().st_mode & 0o777), (str(gateway.pid), 0o600))
            self.assertEqual(gateway.stop(), 0, gateway.output())
        self.assertFalse(file.exists())

    def test_one_of_another_program(self) -> None:
        config = str(write_config(self.folder))
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
            (self.folder / "twistd.pid").write_text(str(other.pid))
            result = run_twistd("fleetgw", "--config", config, folder=self.folder)
            other.communicate()
        self.assertEqual(result.returncode, 2)
        for part in (str(self.folder / "twistd.pid"), f"names process {other.pid}", "input()", "Remove the file"):
            self.assertIn(part, result.stderr)

    def test_a_folder_that_is_not_there(self) -> None:
        config = str(write_config(self.folder))
        for options in (["-n"], []):
            result = run_twistd(*options, "--pidfile=none/g.pid", "fleetgw", "--config", config, folder=self.folder)
            self.assertEqual(result.returncode, 2)
            self.assertIn("none/g.pid cannot be written; name another by --pidfile", result.stderr)
            self.assertNotIn("Traceback", result.stderr)


class LogTests(ProcessCase):
    def test_usr1_opens_the_log_file_again(self) -> None:
        with GatewayProcess(self.folder, options=("--pidfile=", "--logfile=app.log")) as gateway:
            log, old = self.folder / "app.log", self.folder / "old.log"
            gateway.wait_for_output("server_listening", log)
            log.rename(old)
            gateway.signal(signal.SIGUSR1)
            gateway.wait_for_output("log_reopened", log)
            self.assertEqual(log.stat().st_mode & 0o777 & ~0o640, 0)
            self.assertEqual(gateway.stop(), 0)
            self.assertIn("stopped_server", log.read_text())
            self.assertNotIn("stopped_server", old.read_text())

    def test_log_lines_without_a_reader_are_reported_at_the_end(self) -> None:
        """A pipe that is full already: nothing of the log can be written."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        with self.assertRaises(BlockingIOError):
            while True:
                os.write(writer, bytes(4096))
        os.set_blocking(writer, True)
        port = free_port()
        config = str(write_config(self.folder, status_port=port, delivery={"drain_timeout_s": 0.1}))
        command = [Path(sys.executable).parent / "twistd", "-n", "fleetgw", "--config", config]
        with subprocess.Popen(command, cwd=self.folder, stdout=writer, stderr=subprocess.PIPE, text=True) as process:
            os.close(writer)
            self.assertTrue(until_it_listens(port))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=DEADLINE_S)
        os.close(reader)
        self.assertEqual(process.returncode, 3)
        self.assertRegex(errors, r"^fleetgw: \d+ log lines could not be written")


def until_it_listens(port: int) -> bool:
    deadline_s = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), DEADLINE_S):
            return True
        time.sleep(0.02)
    return False
