"""Tiny trainings, and the programs as a user starts them."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

from tfcaps.training import CapsuleNetworkConfig, ImageClassifierConfig

ROOT = pathlib.Path(__file__).resolve().parents[1]
# 80 examples in batches of 32, so the last one is smaller; no decoder, as it is the largest part.
TINY = {
    "layers": (4, 4, 10),
    "dimensions": (4, 4, 4),
    "train_examples": 100,
    "validation_fraction": 0.2,
    "batch_size": 32,
    "epochs": 3,
    "learning_rate": 0.003,
    "schedule": "constant",  # so that more epochs may follow
    "precision": "float32",
    "use_reconstruction": False,
    "save_ckpts": True,
}
# A network of one convolution, for what is the same for all kinds of trainings.
PLAIN = {
    "filters": (2,),
    "train_examples": 100,
    "validation_fraction": 0.2,
    "batch_size": 32,
    "epochs": 3,
    "learning_rate": 0.004,
    "learning_rate_decay": 0.5,
    "save_ckpts": True,
}
# What a run with everything in it has instead.
FULL = {"routing": "em", "use_reconstruction": True, "save_ckpts": False}


def config(log_dir: str | os.PathLike, **changes) -> CapsuleNetworkConfig:
    """The configuration of a tiny training."""
    return CapsuleNetworkConfig(log_dir=str(log_dir), **{**TINY, **changes})


def plain(log_dir: str | os.PathLike, **changes) -> ImageClassifierConfig:
    """The configuration of a training that takes a quarter of the time of a capsule network's."""
    return ImageClassifierConfig(log_dir=str(log_dir), **{**PLAIN, **changes})


def flags(log_dir: str | os.PathLike, **changes) -> list[str]:
    """The same as flags."""
    return [f"--log_dir={log_dir}", *config(log_dir, **changes).flag_lines().split()]


def snapshot(folder: pathlib.Path) -> dict[str, bytes]:
    """The content of all files below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def stopped_after(epoch: int, run: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """Copies a finished run as it would be, had it been killed after so many epochs."""
    shutil.copytree(run, target)
    rows = (target / "metrics.csv").read_text().splitlines(keepends=True)
    (target / "metrics.csv").write_text("".join(rows[: epoch + 1]))
    for path in sorted((target / "checkpoints").glob("epoch-*.keras"))[epoch:]:
        path.unlink()
    (target / "results.json").unlink()
    shutil.rmtree(target / "serving")
    return target


def start(program: str, *arguments: str | os.PathLike) -> subprocess.Popen:
    """Starts one of the programs in bin/."""
    return _popen(sys.executable, ROOT / "bin" / program, *arguments)


def start_code(code: str, *arguments: str | os.PathLike) -> subprocess.Popen:
    """Starts Python code, which has the arguments in `sys.argv[1:]`."""
    return _popen(sys.executable, "-c", code, *arguments)


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Waits for a process: exit code, standard output and standard error."""
    try:
        output, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    return process.returncode, output, errors


def environment() -> dict[str, str]:
    """The environment of a process that has this package, whether or not it is installed."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def _popen(*command: str | os.PathLike) -> subprocess.Popen:
    return subprocess.Popen(
        [os.fspath(part) for part in command],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # As in a terminal: what a shell starts in the background ignores Ctrl-C, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
