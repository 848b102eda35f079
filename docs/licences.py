"""Writes into docs/dependencies.md the licences of all packages that setup.py brings.

pip install --dry-run --ignore-installed --quiet --report report.json '.[EXTRA,…]'
python docs/licences.py report.json
"""

import json
import pathlib
import re
import sys
from collections.abc import Iterable, Iterator

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PAGE = pathlib.Path(__file__).resolve().parent / "dependencies.md"
OURSELVES = "tfcaps"
_TABLE = re.compile(r"(?<=<!-- licences -->\n).*(?=<!-- end of licences -->)", re.DOTALL)
_CLASSIFIER = "License :: "
# Of what says only a name: its SPDX identifier.
_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache 2.0 License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The MIT License (MIT)": "MIT",
}
# What the metadata don't say.
_ELSEWHERE = {
    "cuda-toolkit": "none: holds only the names of other packages",
    "namex": "Apache-2.0",  # the file LICENSE in its wheel
}


def licence(metadata: dict) -> str:
    """What a package's metadata say, the most exact of it; "" where they say nothing."""
    told = metadata.get("license_expression")
    if not told:
        classifiers = [
            line.rpartition(" :: ")[2]
            for line in metadata.get("classifier", ())
            if line.startswith(_CLASSIFIER) and line != "License :: OSI Approved"
        ]
        text = metadata.get("license", "").strip()
        # Some have the whole text there.
        first = text.partition("\n")[0]
        short = first if len(text) < 100 or first in _NAMES else ""
        told = " AND ".join(_NAMES.get(each, each) for each in classifiers)
        if short and (not told or told in ("BSD", "Other/Proprietary License")):
            told = short
    return _NAMES.get(told, told) or _ELSEWHERE.get(canonicalize_name(metadata["name"]), "")


def needed(packages: dict[str, dict], extra: str) -> set[str]:
    """All packages that an extra brings, of those that a report has; "": what everybody gets."""
    found: set[str] = set()
    todo = [(OURSELVES, frozenset({extra}))]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen or name not in packages:
            continue
        seen.add((name, extras))
        found.add(name)
        todo += _requirements(packages[name], extras)
    return found - {OURSELVES}


def _requirements(metadata: dict, extras: Iterable[str]) -> Iterator[tuple[str, frozenset]]:
    for line in metadata.get("requires_dist", ()):
        asked = Requirement(line)
        marker = asked.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in {"", *extras}):
            yield canonicalize_name(asked.name), frozenset(asked.extras)


def table(report: dict) -> str:
    """A row for each package: its licence, and who gets it."""
    packages = {
        canonicalize_name(each["metadata"]["name"]): each["metadata"] for each in report["install"]
    }
    everybody = needed(packages, "")
    extras = packages[OURSELVES].get("provides_extra", [])
    brought = {extra: needed(packages, extra) - everybody for extra in sorted(extras)}
    rows = ["| package | licence | for |", "|---|---|---|"]
    for name in sorted(packages.keys() - {OURSELVES}):
        users = [extra for extra, names in brought.items() if name in names]
        who = "everybody" if name in everybody else ", ".join(f"`{user}`" for user in users)
        rows.append(f"| {name} | {licence(packages[name]) or 'not told'} | {who} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    report = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    PAGE.write_text(_TABLE.sub(lambda _: table(report), text), encoding="utf-8")
