"""Generate the Python code of the payload schemas: ``python protos/generate.py [--check]``.

With ``--check`` nothing is written; exits with 1 and names the files that are not what the schemas give.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

SCHEMAS = Path(__file__).resolve().parent
GENERATED = SCHEMAS.parent / "src" / "fleetgw" / "adapters" / "codec" / "generated"
PATTERNS = ("*_pb2.py", "*_pb2.pyi")


def generate() -> dict[str, str]:
    """Run the compiler; the text of every generated file by its name."""
    schemas = sorted(schema.name for schema in SCHEMAS.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(  # noqa: S603 - our own arguments only
            [
                sys.executable,
                "-m",
                "grpc_tools.protoc",
                f"--proto_path={SCHEMAS}",
                f"--proto_path={files('grpc_tools') / '_proto'}",
                f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
                f"--python_out={folder}",
                f"--mypy_out=quiet:{folder}",
                *schemas,
            ],
            check=True,
            cwd=SCHEMAS,
        )
        return _texts(Path(folder))


def _texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for pattern in PATTERNS for path in sorted(folder.glob(pattern))}


def main(arguments: list[str]) -> int:
    """Write the generated files, or compare them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Generate the Python code of the payload schemas.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a generated file is stale")
    check = parser.parse_args(arguments).check
    wanted, present = generate(), _texts(GENERATED)
    stale = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
    if check:
        for name in stale:
            print(f"stale: {GENERATED.name}/{name}; run `make protos`", file=sys.stderr)
        return 1 if stale else 0
    for name in stale:
        if name in wanted:
            (GENERATED / name).write_text(wanted[name])
        else:
            (GENERATED / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
