"""The site is built as `make docs` builds it, and holds all that is public."""

import os
import subprocess
import sys

import pytest

from tests import runs
from tests.front_door_test import PACKAGES, exported, modules_of, public_names

MODULES = sorted(path.stem for path in (runs.ROOT / "tfcaps").glob("[a-z]*.py"))


def build(*arguments: str | os.PathLike) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mkdocs", "build", *arguments]
    surroundings = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, env=surroundings)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    built = build("--site-dir", folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.mark.parametrize("page", PACKAGES)
def test_reference_has_all_that_a_package_exports(page, site):
    text = (site / f"api/{page}.html").read_text()
    for name in exported(page):
        assert f'id="{page}.{name}"' in text, name


@pytest.mark.parametrize("module", MODULES)
def test_reference_has_all_that_a_module_shows(module, site):
    assert module in modules_of("tfcaps")
    text = (site / f"api/tfcaps.{module}.html").read_text()
    for name in public_names(runs.ROOT / f"tfcaps/{module}.py"):
        assert f'id="tfcaps.{module}.{name}"' in text, name


def test_examples_are_code(site):
    for page in (site / "api").glob("*.html"):
        assert "<blockquote>" not in page.read_text(), page.name


def test_pages_that_lie_elsewhere_are_there_with_their_links(site):
    assert 'href="capsules.html"' in (site / "index.html").read_text()
    assert 'href="adding.html"' in (site / "contributing.html").read_text()
    assert 'href="serving.html#other-formats"' in (site / "changes.html").read_text()


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text()
        for loaded in ('src="http', '<link rel="stylesheet" href="http'):
            assert loaded not in text, page.name


@pytest.mark.parametrize("link", ["gone.md", "index.md#gone", "images/gone.png"])
def test_a_link_that_leads_nowhere_ends_the_build(link, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# Page\n\n[link]({link})\n")
    settings = f"INHERIT: {runs.ROOT}/mkdocs.yml\ndocs_dir: docs\nsite_dir: site\nnav: []\n"
    (tmp_path / "mkdocs.yml").write_text(f"{settings}hooks: []\nextra_css: []\nplugins: []\n")
    built = build("--config-file", tmp_path / "mkdocs.yml")
    assert built.returncode == 1
    assert f"a link '{link}'" in built.stderr
    assert "Aborted with 1 warnings in strict mode" in built.stdout + built.stderr
