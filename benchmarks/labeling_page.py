"""The labeling page with many images, in a browser: from its start to its first pictures.

python -m benchmarks.labeling_page --images=10000

It needs playwright (extra `test`) and a chromium.
"""

import argparse
import pathlib
import shutil
import tempfile
import time

from benchmarks.labeling_load import pictures, processor_seconds, served

_PAINTED = """[...document.querySelectorAll('#grid img')].filter(one => one.complete &&
one.naturalWidth && one.getBoundingClientRect().top < innerHeight).length >= 6"""
_FRAMES = """async () => {
  const gaps = [];
  let before = performance.now();
  for (let step = 0; step < 120; step++) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - before);
    before = now;
    scrollBy(0, step < 60 ? 30 : -30);
  }
  return Math.max(...gaps);
}"""
_KEYS = 40


def megabytes(process: int) -> float:
    """The memory that a process holds."""
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--folder", help="of the pictures, which are made if need be")
    parser.add_argument("--wait", type=int, default=0, help="seconds for all to be looked at")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as workspace, sync_playwright() as driver:
        folder = pictures(pathlib.Path(options.folder or f"{workspace}/images"), options.images)
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name in ("first", "second"):
            begun = time.perf_counter()
            with served(folder, pathlib.Path(workspace, "store")) as (address, process):
                started = time.perf_counter()
                page = browser.new_context(bypass_csp=True).new_page()
                page.goto(address)
                page.wait_for_function(_PAINTED, polling=20)
                painted = time.perf_counter()
                longest = page.evaluate(_FRAMES)
                for _ in range(_KEYS):
                    page.keyboard.press("1")
                page.wait_for_function("localStorage.length === 0")
                saved = time.perf_counter()
                print(
                    f"{name} start of {options.images} images: address {started - begun:.1f} s, "
                    f"pictures {painted - started:.1f} s later; longest frame while scrolling "
                    f"{longest:.0f} ms; {_KEYS} labels saved in {saved - painted:.1f} s; "
                    f"{megabytes(process):.0f} MB and {processor_seconds(process):.1f} s of a "
                    "processor in the page's process",
                    flush=True,
                )
                if options.wait:
                    page.wait_for_function(
                        "document.getElementById('counts').innerText.includes('Learning')",
                        timeout=1000 * options.wait,
                    )
                    print(f"All images looked at {time.perf_counter() - started:.0f} s later.")
        browser.close()


if __name__ == "__main__":
    main()
