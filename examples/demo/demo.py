"""A gateway and ten simulated vehicles on this machine: ``make demo``.

Run it from the checkout's root. All its files are in the folder ``demo``.
"""

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import IO, Any

from record_lines import to_line
from rich.console import Console

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
WORK = Path("demo")
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD)
END_TIMEOUT_S = 20
CONSOLE = Console(highlight=False, soft_wrap=not sys.stdout.isatty())


class Ended(Exception):
    """The demo is to end, or a part of it has ended by itself."""


def on_signal(_number: int, _frame: FrameType | None) -> None:
    ignore_signals()
    raise Ended


def ignore_signals() -> None:
    """From now on the parts end one after the other; nothing interrupts that."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGCHLD else signal.SIG_IGN)


def main() -> int:
    parser = argparse.ArgumentParser(description="A gateway and simulated vehicles on this machine.")
    parser.add_argument("--vehicles", type=int, default=10, help="how many (default %(default)s)")
    parser.add_argument("--rate", type=float, default=3, help="records a second in all (default %(default)s)")
    parser.add_argument("--seconds", type=int, default=0, help="end after so long (default: until Ctrl-C)")
    arguments = parser.parse_args()
    for number in ENDS[:-1]:
        signal.signal(number, on_signal)
    parts: list[subprocess.Popen[bytes]] = []
    try:
        config = prepare(arguments.vehicles)
        gateway = start_gateway()
        parts.append(gateway)
        if not wait_until_up(gateway):
            return 1
        signal.signal(signal.SIGCHLD, on_signal)
        introduce(config, arguments.vehicles)
        parts.append(start_fleet(config["port"], arguments.vehicles, arguments.rate))
        signal.alarm(arguments.seconds)
        show_records(gateway)
    except Ended:
        pass
    except SystemExit:  # by rich: nobody reads the output any more
        ignore_signals()
    return finish(parts)


def prepare(vehicles: int) -> dict[str, Any]:
    """Certificates and the configuration, with other ports where the usual ones are taken."""
    subprocess.run(
        [BIN / "fleetgw", "certs", WORK / "certs", "--vehicles", str(vehicles)], check=True, stdout=subprocess.DEVNULL
    )
    ensure_token(WORK / "operators-token")
    config = json.loads((HERE / "config.json").read_text())
    Path(config["operations"]["folder"]).mkdir(exist_ok=True)
    config["port"] = free_port(config["port"])
    config["status_port"] = free_port(config["status_port"])
    config["monitoring"]["prometheus_metrics_port"] = free_port(config["monitoring"]["prometheus_metrics_port"])
    (WORK / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return config


def ensure_token(file: Path) -> None:
    """Make the operators' token once: a page that is open stays valid when the demo starts again."""
    if not file.exists():
        file.touch(0o600)
        file.write_text(secrets.token_hex(16))


def free_port(wanted: int) -> int:
    """``wanted``, or any other port when that is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free on 127.0.0.1")


def start_gateway() -> subprocess.Popen[bytes]:
    command = [BIN / "twistd", "--nodaemon", "fleetgw", "--config", WORK / "config.json"]
    return start(command, stderr=None)


def start_fleet(port: object, vehicles: int, rate: float) -> subprocess.Popen[bytes]:
    command = [BIN / "fleetgw", "simulate", "--url", f"wss://localhost:{port}", "--certs", WORK / "certs"]
    command += ["--vehicles", str(vehicles), "--rate", str(rate), "--types", "V=80,alerts=15,errors=5"]
    with (WORK / "fleet.log").open("wb") as log:
        return start(command, log)


def start(command: list[str | Path], stderr: IO[bytes] | None) -> subprocess.Popen[bytes]:
    """In a session of its own: Ctrl-C reaches this script alone, which ends the parts in order."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True)


def wait_until_up(gateway: subprocess.Popen[bytes]) -> bool:
    for line in gateway.stdout or ():
        if b"server_listening" in line:
            return True
        if b'"level":"error"' in line:
            CONSOLE.print(to_line(line))
    return False


def introduce(config: dict[str, Any], vehicles: int) -> None:
    metrics_port = config["monitoring"]["prometheus_metrics_port"]
    vin = min(path.stem for path in (WORK / "certs" / "vehicles").glob("*.crt"))
    token = Path(config["operations"]["token"]["file"]).read_text()
    fleetgw = f"{os.path.relpath(BIN)}/fleetgw"
    query = f"{fleetgw} query --db {config['sqlite']['path']}"
    here = f"--config {WORK}/config.json"
    CONSOLE.print(
        f"""
[bold]fleetgw[/bold]: a gateway and {vehicles} simulated vehicles, on this machine only

  the live page         http://localhost:{config["status_port"]}/#token={token}
  vehicles connect to   wss://localhost:{config["port"]}   (certificates: {WORK}/certs)
  is it up?             http://localhost:{config["status_port"]}/status
  metrics               http://localhost:{metrics_port}/metrics
  configuration         {WORK}/config.json   (the gateway's log: {WORK}/gateway.log)

Ask the running gateway, from a second terminal:

  {fleetgw} top {here}
  {fleetgw} vehicles {here}
  {fleetgw} tap {here} --type V --field VehicleSpeed
  {fleetgw} trace {here} --vin {vin}

Ask what has arrived:

  {query} vehicles
  {query} latest {vin}
  {query} signal {vin} Soc --plot
  {query} alerts --since 10m

Each line is a record as the gateway decoded it: when, which vehicle, which type, what.
[bold]Ctrl-C[/bold] ends it all.
"""
    )


def show_records(gateway: subprocess.Popen[bytes]) -> None:
    with (WORK / "gateway.log").open("wb") as log:
        for line in gateway.stdout or ():
            log.write(line)
            text = to_line(line)
            if text is not None:
                CONSOLE.print(text, no_wrap=True, overflow="ellipsis" if sys.stdout.isatty() else "ignore")


def finish(parts: list[subprocess.Popen[bytes]]) -> int:
    """End the fleet, so that its last records are acknowledged, then the gateway; 0 when both end without an error."""
    broken = [part for part in parts if part.poll() is not None]
    for part in broken:
        print(f"{part.args[0].name} ended by itself, status {part.returncode}; see the logs in {WORK}", file=sys.stderr)
    gateway, *fleet = parts or [None]
    for part in fleet:
        CONSOLE.print()
        print(end(part, signal.SIGINT).decode())
    if gateway is not None:
        end(gateway, signal.SIGTERM)
    if not broken:
        CONSOLE.print("The vehicles and the gateway have ended.")
    return 1 if broken else 0


def end(part: subprocess.Popen[bytes], number: signal.Signals) -> bytes:
    """Signal a part to end, kill it when it does not; its remaining output."""
    if part.poll() is None:
        part.send_signal(number)
    try:
        return part.communicate(timeout=END_TIMEOUT_S)[0]
    except subprocess.TimeoutExpired:
        part.kill()
        return part.communicate()[0]


if __name__ == "__main__":
    sys.exit(main())
