"""What is written down of packages that come from elsewhere: exact versions, licences."""

import functools
import json
import re
import runpy

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.packaging_test import PYTHONS, ROOT, all_requirements, handed_to_setuptools

PAGE = ROOT / "docs/dependencies.md"
# Of requirements.lock, as the Makefile has it.
LEFT_OUT = {"cuda", "mutation", "release"}
# The Python that the licences are of.
LICENSED = "3.11"


@functools.cache
def locked() -> list[Requirement]:
    """The lines of requirements.lock that name a package."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line.removesuffix("\\")) for line in lines if re.match("[a-z]", line)]


def is_for(requirement: Requirement, python: str) -> bool:
    machine = {"python_version": python, "python_full_version": f"{python}.1", "extra": ""}
    machine |= {"sys_platform": "linux", "platform_machine": "x86_64"}
    return requirement.marker is None or requirement.marker.evaluate(machine)


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_file_is_within_the_bounds(python):
    versions = {each.name: each.specifier for each in locked() if is_for(each, python)}
    setup = handed_to_setuptools()
    groups = [lines for extra, lines in setup["extras_require"].items() if extra not in LEFT_OUT]
    lines = sum(groups, setup["install_requires"])
    asked = [each for each in map(Requirement, lines) if is_for(each, python)]
    assert len(asked) > 40
    for requirement in asked:
        (version,) = versions[canonicalize_name(requirement.name)]
        assert version.operator == "=="
        assert version.version in requirement.specifier, requirement


def test_lock_file_is_for_everybody():
    text = (ROOT / "requirements.lock").read_text()
    assert "#    make lock\n" in text
    assert text.count(" \\\n    --hash=sha256:") >= len(locked())
    for of_one_machine in ("://", "--index-url", "--extra-index-url", "--find-links", " @ "):
        assert of_one_machine not in text


def told() -> dict[str, str]:
    """The licence of each package, from the page."""
    (table,) = re.findall("<!-- licences -->\n(.*)<!-- end", PAGE.read_text(), re.DOTALL)
    return dict(re.findall(r"^\| ([a-z\d-]+) \| (.+?) \|", table, re.MULTILINE))


def test_licence_of_every_dependency_is_told():
    direct = {canonicalize_name(each.name) for each in all_requirements(handed_to_setuptools())}
    assert direct | {each.name for each in locked() if is_for(each, LICENSED)} <= told().keys()
    assert "not told" not in told().values()


def test_nothing_unusual_goes_unnoticed():
    """Whatever asks for more than a notice is named in the page's text."""
    text = PAGE.read_text().partition("<!-- licences -->")[0]
    for name, licence in told().items():
        if re.search("GPL|MPL|EUPL|Proprietary|Freely|Unlicense", licence):
            assert f"`{name}`" in text or name.startswith("nvidia-"), (name, licence)


class TestLicences:
    """docs/licences.py reads what pip reports."""

    def table(self, *packages: dict) -> list[str]:
        names = runpy.run_path(str(ROOT / "docs/licences.py"))
        ours = {
            "name": "tfcaps",
            "requires_dist": ["First", 'other[more]; extra == "test"'],
            "provides_extra": ["test"],
        }
        report = {"install": [{"metadata": package} for package in (ours, *packages)]}
        return names["table"](json.loads(json.dumps(report))).splitlines()[2:]

    def test_who_needs_it(self):
        first = {"name": "first", "license_expression": "MIT"}
        other = {
            "name": "other",
            "license": "MIT License",
            "requires_dist": ['deep; extra == "more"', 'gone; python_version < "3"'],
        }
        deep = {"name": "deep", "classifier": ["License :: OSI Approved :: BSD License"]}
        assert self.table(first, other, deep) == [
            "| deep | BSD | `test` |",
            "| first | MIT | everybody |",
            "| other | MIT | `test` |",
        ]

    def test_silence_is_told(self):
        (row,) = self.table({"name": "first", "license": "All of the text.\n" * 50})
        assert row == "| first | not told | everybody |"


def test_workflow_covers_every_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert tuple(matrix["python"]) == PYTHONS
    assert matrix["versions"] == ["lowest-direct", "highest"]
