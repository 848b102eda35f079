"""What is installed is what the code needs, and what it brings runs from any folder."""

import ast
import contextlib
import functools
import importlib
import importlib.metadata
import os
import pathlib
import re
import runpy
import stat
import subprocess
import sys

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import tfcaps

ROOT = pathlib.Path(__file__).parents[1]
PROGRAMS = sorted(path for path in (ROOT / "bin").iterdir() if path.is_file())
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


@functools.cache
def handed_to_setuptools() -> dict:
    """What setup.py says."""
    handed: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **arguments: handed.update(arguments))
        patch.chdir(ROOT)
        runpy.run_path("setup.py")
    return handed


@pytest.fixture
def metadata() -> dict:
    return handed_to_setuptools()


def all_requirements(metadata) -> list[Requirement]:
    groups = metadata["install_requires"], *metadata["extras_require"].values()
    return [Requirement(line) for lines in groups for line in lines]


def imported_modules(*folders: str) -> set[str]:
    """The top-level names of all absolute imports, wherever in a file they are."""
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            is_hidden = any(part.startswith(".") for part in path.relative_to(ROOT).parts)
            if path.is_file() and path.suffix in ("", ".py") and not is_hidden:
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.Import):
                        found |= {alias.name.split(".")[0] for alias in node.names}
                    elif isinstance(node, ast.ImportFrom) and node.level == 0:
                        found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"tfcaps", "nas", "tests", "benchmarks"}


def undeclared(modules: set[str], requirements: list[str]) -> set[str]:
    """The modules that no declared distribution brings."""
    brought = set()
    for requirement in map(Requirement, requirements):
        if requirement.marker is None or requirement.marker.evaluate():
            # What isn't installed brings nothing.
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                files = importlib.metadata.distribution(requirement.name).files
                brought |= {file.parts[0].removesuffix(".py") for file in files}
    return modules - brought


def test_imports_of_the_library_are_declared(metadata):
    modules = imported_modules("tfcaps", "nas", "bin")
    assert {"keras", "keras_tuner", "numpy", "tensorflow"} <= modules
    # Keras' other backend, for those who chose it, and what the extra of the name brings.
    optional = {"jax", "foolbox", "keras_hub"}
    optional |= {"PIL", "sklearn", "starlette", "threadpoolctl", "uvicorn"}
    assert undeclared(modules - optional, metadata["install_requires"]) == set()


def test_imports_of_the_tests_are_declared(metadata):
    # The mutation check is for those who ask for its extra.
    modules = imported_modules("tests", "benchmarks") - {"cosmic_ray"}
    assert {"pytest", "numpy", "jax"} <= modules
    declared = metadata["install_requires"] + metadata["extras_require"]["test"]
    assert undeclared(modules, declared) == set()


def test_every_dependency_has_a_lower_and_an_upper_bound(metadata):
    for requirement in all_requirements(metadata):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert ">=" in operators, requirement
        assert operators & {"<", "<="}, requirement


def test_extras(metadata):
    assert metadata["extras_require"].keys() == {
        *("cuda", "docs", "labeling", "mutation", "nlp", "release", "robustness", "test")
    }


def test_supported_pythons(metadata):
    allowed = SpecifierSet(metadata["python_requires"])
    assert all(python in allowed for python in PYTHONS)
    assert not any(python in allowed for python in ("3.9", "3.14"))
    named = [line.rpartition(" ")[2] for line in metadata["classifiers"] if "3." in line]
    assert tuple(named) == PYTHONS


def test_version_is_that_of_the_package(metadata):
    assert metadata["version"] == tfcaps.__version__
    assert importlib.metadata.version("tfcaps") == tfcaps.__version__


def test_every_package_folder_is_installed(metadata):
    folders = {path.parent for path in (ROOT / "tfcaps").rglob("*.py")}
    assert set(metadata["packages"]) >= {
        ".".join(folder.relative_to(ROOT).parts) for folder in folders
    }


def test_every_program_is_installed(metadata):
    assert metadata["scripts"] == [f"bin/{path.name}" for path in PROGRAMS]
    assert {"train_capsnet", "export_model"} <= {path.name for path in PROGRAMS}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_program_is_executable(path):
    assert path.suffix == ""
    assert os.stat(path).st_mode & stat.S_IXUSR
    # setuptools replaces just such a line by the Python that it installs for.
    assert path.read_text().startswith("#!/usr/bin/env python3\n")


# tensorflow-datasets imports importlib_resources, and keras-tuner imports tensorboard: neither says
# so in its own metadata.
@pytest.mark.parametrize(
    "module", ["importlib_resources", "keras_tuner", "tensorboard", "tensorflow_datasets"]
)
def test_undeclared_dependencies_of_others_are_here(module, metadata):
    importlib.import_module(module)
    assert undeclared({module}, metadata["install_requires"]) == set()


def test_documentation_explains_every_dependency(metadata):
    page = (ROOT / "docs/dependencies.md").read_text()
    for requirement in all_requirements(metadata):
        assert f"`{requirement.name}" in page, requirement.name


def make(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_make_without_a_target_tells_the_targets():
    told = make().stdout
    targets = "demo check test lint types bench docs lock licences format clean"
    for target in targets.split():
        assert re.search(rf"^make {target} ", told, re.MULTILINE), target


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.14"])
def test_make_names_a_python_that_is_too_old_or_too_new(version, tmp_path):
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"sys.version_info = tuple(map(int, '{version}'.split('.')))\nexec(sys.argv[2])\n"
    )
    python.chmod(0o755)
    run = make("demo", f"PYTHON={python}", f"VENV={tmp_path}/venv")
    assert run.returncode != 0
    assert f"needs Python 3.10 to 3.13, and {python} is Python {version}" in run.stderr
    assert not (tmp_path / "venv").exists()


def test_make_names_a_python_that_is_not_there(tmp_path):
    run = make("demo", "PYTHON=no_such_python", f"VENV={tmp_path}/venv")
    assert run.returncode != 0
    assert run.stderr.startswith("There is no no_such_python: install Python 3.10 to 3.13")
