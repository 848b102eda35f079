"""docs/flags.md says what the programs' options say."""

import re
import runpy

import pytest

from tests import runs

DOCS = runs.ROOT / "docs"
PROGRAMS = sorted(path.name for path in (runs.ROOT / "bin").iterdir() if path.is_file())


@pytest.fixture(scope="module")
def page() -> str:
    return runpy.run_path(str(DOCS / "flags.py"))["page"]()


def test_page_is_up_to_date(page):
    assert (DOCS / "flags.md").read_text() == page, "make docs writes it again"


def test_every_program_has_its_flags(page):
    sections = dict(re.findall(r"^## bin/(\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    assert sorted(sections) == PROGRAMS
    assert all("| `--log_dir` |" in section for section in sections.values())
    assert "| `--rule` | auto | What the search does" in sections["auto_tune"]
    # One table for each kind of network, and one for how often it is trained.
    for flag in ("--stem", "--filters", "--runs"):
        assert f"| `{flag}` |" in sections["train_network"]


def test_a_changed_option_changes_the_page(page, monkeypatch):
    from tfcaps import options

    monkeypatch.setattr(options, "description", lambda field: "Another help.")
    changed = runpy.run_path(str(DOCS / "flags.py"))["page"]()
    assert changed != page
    assert "| `--rule` | auto | Another help. |" in changed


@pytest.mark.parametrize("file", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_to_the_page_lead_to_a_program(file):
    for program in re.findall(r"\(flags\.md#bin(\w+)\)", (DOCS / file).read_text()):
        assert program in PROGRAMS
