"""Write the parts of these pages that come from the project itself: ``python docs/generate.py`` (``make docs``).

Each part stands between ``<!-- name: begin -->`` and ``<!-- name: end -->``. A test holds the pages to it.
"""

import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import fleetgw.domain.metrics as domain_metrics
from fleetgw.adapters import sinks
from fleetgw.domain.metrics import Metric
from tests.support import wire_examples

DOCS = Path(__file__).resolve().parent
VECTORS = DOCS.parent / "tests" / "vectors"
EXAMPLES = [DOCS.parent / "examples" / name for name in ("writing-a-sink", "embedding", "consumers")]
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json"}

_CHAPTERS = (
    ("differences.json", "What vehicles send, and what sinks get"),
    ("stream_differences.json", "On the connection"),
    ("logger_differences.json", "In the log"),
    ("config_differences.json", "In the configuration"),
)


def reasons(content: object) -> Iterator[str]:
    """The reasons in a file of differences: of each case in its lists, and each rule in its objects."""
    groups = content.values() if isinstance(content, dict) else [content]
    for group in groups:
        match group:
            case list():
                yield from (case["reason"] for case in group)
            case dict():
                yield from group.values()


def differences() -> str:
    """Every deliberate difference from the Go server: the reasons beside the golden vectors, once each."""
    parts = []
    listed: set[str] = set()
    titles = dict(_CHAPTERS)
    others = sorted(path.name for path in VECTORS.glob("*differences.json") if path.name not in titles)
    for name in (*titles, *others):
        title = titles.get(name) or f"Sink {name.removesuffix('_differences.json')}"
        further = dict.fromkeys(each for each in reasons(json.loads((VECTORS / name).read_text())) if each not in listed)
        listed.update(further)
        if further:
            parts.append("\n".join([f"### {title}", "", *(f"- {reason}" for reason in further)]))
    return "\n\n".join(parts)


def metrics() -> str:
    """The table of metrics: the catalogue, and the additions of single sinks."""
    names = [module.name for module in walk_packages(sinks.__path__, f"{sinks.__name__}.")]
    modules = [domain_metrics, *map(import_module, names)]
    catalogue = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Metric)}
    rows = [
        f"| `{metric.name}` | {metric.kind.value} | {', '.join(metric.labels)} | {metric.help} |"
        for _, metric in sorted(catalogue.items())
    ]
    return "\n".join(["| name | kind | labels | |", "|---|---|---|---|", *rows])


def example(name: str) -> str:
    """A file of the examples, as a code block."""
    (path,) = (folder / name for folder in EXAMPLES if (folder / name).exists())
    return f"```{LANGUAGES[path.suffix]}\n{path.read_text().rstrip()}\n```"


PARTS = {
    "differences": differences,
    "metrics": metrics,
    "wire_upgrade": wire_examples.upgrade,
    "wire_frames": wire_examples.frames,
    "wire_record": wire_examples.record,
    "wire_ack": wire_examples.ack,
    "wire_error": wire_examples.error_reply,
    "wire_connectivity": wire_examples.connectivity,
}


def complete(page: str) -> str:
    """The page with every part as it should be."""

    def fresh(found: re.Match[str]) -> str:
        name = found["name"]
        text = PARTS[name]() if name in PARTS else example(name)
        return f"{found['begin']}\n{text}\n{found['end']}"

    pattern = r"(?P<begin><!-- (?P<name>[\w.]+): begin -->)\n.*?(?P<end><!-- (?P=name): end -->)"
    return re.sub(pattern, fresh, page, flags=re.DOTALL)


def main() -> None:
    """Complete every page in place."""
    for path in sorted(DOCS.rglob("*.md")):
        page = path.read_text()
        if complete(page) != page:
            path.write_text(complete(page))


if __name__ == "__main__":
    main()
