"""What mkdocs.yml can't say: pages from outside of docs/, and the reference of the library.

Nothing of the library is imported, so a site is built in seconds. See `mkdocs.yml`.
"""

import ast
import pathlib
import posixpath
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Pages that lie where GitHub looks for them.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
# The page's own heading is there.
_WITHOUT_HEADING = "show_root_heading: false, show_root_toc_entry: false"
_LIBRARY = ("tfcaps", "nas")
_LINK = re.compile(r"(?<=\]\()([^)#\s:]+\.\w+)(?=[)#])")


def on_config(config):
    """The reference in the navigation."""
    pages = [{package: f"api/{package}.md"} for package in doors()]
    config.nav.append({"Reference": pages})
    return config


def on_files(files, config):
    """All pages that are not in docs/."""
    for source, target in OUTSIDE.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=_with_links(text, source)))
    for package in doors():
        files.append(File.generated(config, f"api/{package}.md", content=reference(package)))
    return files


def on_page_markdown(markdown, page, **_):
    """Links out of docs/ lead to where those pages are on the site."""
    if page.file.generated_by:
        return markdown
    return _with_links(markdown, f"docs/{page.file.src_uri}")


def doors() -> list[str]:
    """What can be imported by a user: packages, and the modules that `tfcaps` shows."""
    stubs = [path for name in _LIBRARY for path in (ROOT / name).rglob("__init__.pyi")]
    packages = {".".join(path.parent.relative_to(ROOT).parts) for path in stubs}
    return sorted(packages | {f"tfcaps.{name}" for name, _ in exported("tfcaps")})


def exported(package: str) -> list[tuple[str, str | None]]:
    """The names that a package's `__init__.pyi` exports, and their modules; None: is a module."""
    stub = ROOT / package.replace(".", "/") / "__init__.pyi"
    return [
        (alias.asname, line.module)
        for line in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(line, ast.ImportFrom)
        for alias in line.names
    ]


def reference(package: str) -> str:
    """The page of a package: its docstring, and each name that it exports."""
    folder = ROOT / package.replace(".", "/")
    if not folder.is_dir():
        return f"# {package}\n\n::: {package}\n    options: {{{_WITHOUT_HEADING}}}\n"
    names = exported(package)
    inner = [name for name, module in names if module is None]
    parts = [f"# {package}", f"::: {package}\n    options: {{members: false, {_WITHOUT_HEADING}}}"]
    parts += ["\n".join(f"- [{package}.{name}]({package}.{name}.md)" for name in inner)]
    parts += [f"::: {package}.{name}" for name, module in names if module is not None]
    return "\n\n".join(part for part in parts if part) + "\n"


def _with_links(text: str, source: str) -> str:
    """The text of a file of the tree, with its links as those of its page of the site."""

    def target(found: re.Match) -> str:
        file = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        page = OUTSIDE.get(file) or file.removeprefix("docs/")
        here = OUTSIDE.get(source) or source.removeprefix("docs/")
        return posixpath.relpath(page, posixpath.dirname(here) or ".")

    return _LINK.sub(target, text)
