"""The labeling page under load: many tabs label all images of a folder at once, by HTTP.

python -m benchmarks.labeling_load --images=10000 --tabs=50

Each tab does what the page does: it sends one click, asks for the next image, and sends the next
click, without a pause. The program runs as a person starts it, learning beside it included.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Iterator

import numpy as np

from tfcaps.labeling import Pool
from tfcaps.labeling.pool import pool_file

CLASSES = tuple("abcdefghi")
SIDE = 28
REPOSITORY = pathlib.Path(__file__).parents[1]
HELD = 24  # images of a tab's grid


def pictures(folder: pathlib.Path, count: int) -> pathlib.Path:
    """Small pictures of nine kinds, by seed; those that are there already stay."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    kinds = generator.integers(0, 200, (len(CLASSES), 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    for number in range(count):
        noise = generator.integers(0, 56, (SIDE, SIDE))
        path = folder / f"{number:06}.png"
        if not path.exists():
            Image.fromarray((kinds[number % len(CLASSES)] + noise).astype(np.uint8)).save(path)
    return folder


@contextlib.contextmanager
def served(folder: pathlib.Path, store: pathlib.Path, *flags: str) -> Iterator[tuple[str, int]]:
    """The page's address and the process of the program."""
    process = subprocess.Popen(
        [
            *(sys.executable, REPOSITORY / "bin" / "guided_labeling", f"--images={folder}"),
            *(f"--classes={','.join(CLASSES)}", f"--log_dir={store}", "--noopen_browser", *flags),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
    )
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip(), process.pid
    finally:
        process.terminate()
        process.wait()


def processor_seconds(process: int) -> float:
    """What a process has used of processors, without its children."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Tab:
    """One tab of the page, which labels until nothing is left.

    Args:
        address: of the page.
        name: of the tab.
    """

    def __init__(self, address: str, name: str):
        parts = urllib.parse.urlsplit(address)
        self._token = urllib.parse.parse_qs(parts.query)["token"][0]
        self._connection = http.client.HTTPConnection(parts.netloc, timeout=60)
        self._name = name
        self.labelled: list[int] = []
        self.seconds: dict[str, list[float]] = {"/clicks": [], "/images": []}

    def work(self) -> None:
        """Labels."""
        with contextlib.closing(self._connection):
            self._label_all()

    def _label_all(self) -> None:
        held: list[int] = []
        while True:
            asked = {"by": self._name, "count": HELD - len(held), "held": held}
            held += [item["image"] for item in self._ask("/images", asked)["images"]]
            if not held:
                return
            image = held.pop(0)
            click = {"kind": "label", "image": image, "label": CLASSES[image % len(CLASSES)],
                     "identity": f"{self._name}-{image}"}  # fmt: skip
            self._ask("/clicks", {"by": self._name, "clicks": [click]})
            self.labelled.append(image)

    def _ask(self, path: str, body: dict) -> dict:
        headers = {"x-token": self._token, "content-type": "application/json"}
        begun = time.perf_counter()
        self._connection.request("POST", path, json.dumps(body), headers)
        answer = self._connection.getresponse()
        content = answer.read()
        self.seconds[path].append(time.perf_counter() - begun)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}, {content!r}")
        return json.loads(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--tabs", type=int, default=50)
    parser.add_argument("--folder", help="of the pictures, which are made if need be")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as workspace:
        folder = pictures(pathlib.Path(options.folder or f"{workspace}/images"), options.images)
        store = pathlib.Path(workspace, "store")
        with served(folder, store) as (address, process):
            tabs = [Tab(address, f"tab-{number}") for number in range(options.tabs)]
            threads = [threading.Thread(target=tab.work) for tab in tabs]
            begun = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            wall = time.perf_counter() - begun
            used = processor_seconds(process)
        labelled = [image for tab in tabs for image in tab.labelled]
        kept = Pool(pool_file(store), [], CLASSES).labels()
        twice = len(labelled) - len(set(labelled))
        lost = sum(image not in kept for image in labelled)
        print(
            f"{len(labelled)} images in {wall:.1f} s by {options.tabs} tabs; "
            f"{twice} twice, {lost} lost, {options.images - len(kept)} left over; "
            f"the page's process took {used:.1f} s of a processor"
        )
        for path in ("/clicks", "/images"):
            seconds = np.concatenate([tab.seconds[path] for tab in tabs]) * 1e3
            shares = ", ".join(f"p{p:g} {np.percentile(seconds, p):.0f} ms" for p in (50, 90, 99))
            print(f"{path:8} {len(seconds)} requests: {shares}, most {seconds.max():.0f} ms")


if __name__ == "__main__":
    main()
