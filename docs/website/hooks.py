"""Hooks of mkdocs: the site shows the same files that a reader of the repository sees.

README.md is the home page and CHANGELOG.md a page; both stand outside ``docs/``. A file or folder outside ``docs/`` that a
page links to becomes a page of its own below ``files/``, so that each link works in the repository and on the site.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from pymdownx.superfences import fence_code_format

ROOT = Path(__file__).resolve().parents[2]
LOGO = "src/fleetgw/adapters/monitoring/page/icon.svg"
MERMAID = "website/mermaid.min.js"
PAGES_OUTSIDE = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}

LINK = re.compile(r"\]\((?!https?:|#)([^)\s#]+)(#[^)\s]+)?\)")
CODE_IN_TABLE = re.compile(r"^\|.*\\\|.*$", re.MULTILINE)
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)
GENERATED = re.compile(r"^<!-- [\w.]+: (?:begin|end) -->$", re.MULTILINE)


def source_of(page: str) -> str:
    """The path in the repository of a page of the site."""
    return {site: source for source, site in PAGES_OUTSIDE.items()}.get(page, f"docs/{page}")


def page_of(source: str) -> str:
    """The page or file of the site that shows a path of the repository."""
    if source in PAGES_OUTSIDE:
        return PAGES_OUTSIDE[source]
    return source.removeprefix("docs/") if source.startswith("docs/") else f"files/{source}.md"


def targets(source: str, text: str) -> set[str]:
    """The paths in the repository that the text of a file links to."""
    return {posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1])) for found in LINK.finditer(text)}


def listing(folder: str) -> list[str]:
    """The source files in a folder of the repository."""
    found = (each.relative_to(ROOT) for each in (ROOT / folder).rglob("*.*") if each.is_file())
    return sorted(each.as_posix() for each in found if not {"__pycache__", ".pytest_cache"} & set(each.parts))


def shown(path: str) -> str:
    """A page with the content of a file."""
    try:
        language = get_lexer_for_filename(path).aliases[0]
    except ClassNotFound:
        language = "text"
    content = (ROOT / path).read_text("utf-8")
    return f"---\nsearch: {{exclude: true}}\nhide: [toc]\n---\n# {path}\n\n`````{language}\n{content}`````\n"


def contents(folder: str, files: list[str]) -> str:
    """A page that lists the files of a folder."""
    rows = [f"- [{each}]({posixpath.relpath(each, posixpath.dirname(folder))}.md)" for each in files]
    return "\n".join(["---", "search: {exclude: true}", "hide: [toc]", "---", f"# {folder}", "", *rows, ""])


def anchor(heading: str, separator: str) -> str:
    """The anchor of a heading as on GitHub, whose readers follow the same links."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", separator)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Anchors as on GitHub, and diagrams for Mermaid."""
    config.mdx_configs["toc"]["slugify"] = anchor
    fence = {"name": "mermaid", "class": "mermaid", "format": fence_code_format}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that stand outside ``docs/``."""
    for source, page in PAGES_OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    pages = [each for each in files if each.is_documentation_page()]
    linked = {target for each in pages for target in targets(source_of(each.src_uri), each.content_string)}
    outside = sorted(each for each in linked if page_of(each).startswith("files/") and (ROOT / each).exists())
    folders = {each: listing(each) for each in outside if (ROOT / each).is_dir()}
    for folder, inside in folders.items():
        files.append(File.generated(config, page_of(folder), content=contents(folder, inside)))
    for path in {each for each in outside if each not in folders} | {each for inside in folders.values() for each in inside}:
        files.append(File.generated(config, page_of(path), content=shown(path)))
    files.append(File.generated(config, "website/logo.svg", abs_src_path=str(ROOT / LOGO)))
    (script,) = (ROOT / "build").glob("mermaid-*.min.js")  # from make site
    files.append(File.generated(config, MERMAID, abs_src_path=str(script)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  mkdocs' signature
    """Point links to the pages of the site."""
    if page.file.src_uri.startswith("files/"):
        return markdown
    here = source_of(page.file.src_uri)

    def to_page(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), found[1]))
        way = posixpath.relpath(page_of(target), posixpath.dirname(page.file.src_uri))
        return f"]({way}{found[2] or ''})"

    parts = FENCE.split(GENERATED.sub("", markdown))
    return "".join(
        part if part.lstrip().startswith("```") else CODE_IN_TABLE.sub(_with_pipes, LINK.sub(to_page, part))
        for part in parts
    )


def _with_pipes(row: re.Match[str]) -> str:
    r"""A row of a table with ``|`` in code, which GitHub wants as ``\|`` and Python-Markdown without the backslash."""
    return re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), row[0])


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:  # noqa: ARG001  mkdocs' signature
    """Load Mermaid where a diagram is, from the site: the theme would load it from elsewhere."""
    if '<pre class="mermaid">' not in output:
        return output
    script = f'<script src="{posixpath.relpath(MERMAID, posixpath.dirname(page.file.dest_uri))}"></script>'
    return output.replace("</body>", f"{script}</body>", 1)
