"""The files that are given away: built, installed without the tree, and put to work."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile

import pytest

from tests import runs

# What a tree is that has never been worked in.
SOURCES = ("bin", "nas", "tfcaps", "LICENSE", "README.md", "pyproject.toml", "setup.py")
BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, f"build_{sys.argv[1]}")(sys.argv[2]))
"""
WHERE = "import nas, tfcaps; print(tfcaps.__file__, nas.__file__)"


def run(*command: str | os.PathLike, cwd: pathlib.Path) -> str:
    """What a command prints; no folder but the environment's own is searched for packages."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both files."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        copy = shutil.copytree if (runs.ROOT / name).is_dir() else shutil.copy
        copy(runs.ROOT / name, tree / name)
    folder = tmp_path_factory.mktemp("dist")
    for kind in ("sdist", "wheel"):
        run(sys.executable, "-c", BUILD, kind, folder, cwd=tree)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(params=["sdist", "wheel"])
def installed(request, built, tmp_path):
    """The programs' folder of an environment that has a file of ours, and what that needs."""
    run(sys.executable, "-m", "venv", "--without-pip", "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    paths = run(
        python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    )
    # The packages of these tests, and not their link to the tree: links inside aren't followed.
    (pathlib.Path(paths.strip()) / "others.pth").write_text(sysconfig.get_path("purelib"))
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, *options, "--ignore-installed", built[request.param], cwd=tmp_path)
    return python.parent


def test_installed_package_trains(installed, tmp_path):
    places = run(installed / "python", "-c", WHERE, cwd=tmp_path).split()
    assert all(pathlib.Path(place).is_relative_to(installed.parent) for place in places)
    flags = runs.flags("run", epochs=1, save_ckpts=False)
    printed = run(installed / "train_capsnet", *flags, cwd=tmp_path)
    assert "Test accuracy: " in printed
    assert (tmp_path / "run/serving/1/saved_model.pb").exists()


def test_both_hold_all_of_the_package(built):
    wanted = {
        path.relative_to(runs.ROOT).as_posix()
        for folder in ("tfcaps", "nas", "bin")
        for path in (runs.ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with tarfile.open(built["sdist"]) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert wanted | {"LICENSE", "setup.py"} <= held
    with zipfile.ZipFile(built["wheel"]) as archive:
        held = {re.sub(r".*[.]data/scripts/", "bin/", name) for name in archive.namelist()}
    assert wanted <= held
    assert any(name.endswith("/LICENSE") for name in held)
