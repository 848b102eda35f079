"""A folder of pictures, and the page of one as a person starts it."""

import contextlib
import pathlib

import numpy as np
from PIL import Image

from tests import runs

CLASSES = ["dark", "light"]


def pictures(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Dark and light pictures, one after the other, no two alike."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(count):
        noise = generator.integers(0, 60, (16, 16, 3))
        Image.fromarray((noise + 180 * (number % 2)).astype(np.uint8)).save(
            folder / f"{number:05}.png"
        )
    return folder


@contextlib.contextmanager
def served(folder: pathlib.Path, *flags: str):
    """The program's process and the page's address."""
    process = runs.start(
        "guided_labeling",
        f"--images={folder}",
        f"--classes={','.join(CLASSES)}",
        "--noopen_browser",
        *flags,
    )
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate(timeout=20)
        yield process, address
    finally:
        process.kill()
        process.communicate()
