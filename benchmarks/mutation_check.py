"""A mutation check: do the tests notice when a line of the package is wrong?

Draws mutants (an operator, a number, a condition, … replaced by Cosmic Ray's operators), of each
area in proportion to its mutable places. Each is written into a private copy of the tree, where the
tests of its area run, those nearest to its file first, in a fork of a process that has imported
TensorFlow once. A test that fails, an import that fails, a crash and a hang kill a mutant; one that
passes all tests survives. Without a mutant, the tests of each area have to pass.

    python -m benchmarks.mutation_check TREE before.jsonl
    python -m benchmarks.mutation_check TREE after.jsonl --killed=before.jsonl

The first command draws and runs mutants of a version of the tree. The second looks for those that
were killed there in another version, by the text of their lines and the functions around them, and
runs them; what can't be found is listed as "gone". Started again, each goes on with what its file
of results doesn't have yet. Cosmic Ray comes with `pip install -e '.[mutation]'`.
"""

import argparse
import collections
import contextlib
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks import mutants

# Area: the folders and files that are mutated, and the tests that matter to all of them; those that
# a version of the tree doesn't have are left out.
AREAS = {
    "routing": (["tfcaps/routing"], ["tests/routing", "tests/layers", "tests/conformance"]),
    "layers": (["tfcaps/layers"], ["tests/layers", "tests/conformance", "tests/models"]),
    "losses": (["tfcaps/losses"], ["tests/losses", "tests/conformance", "tests/models"]),
    "metrics": (
        ["tfcaps/metrics"],
        ["tests/metrics", "tests/training/capsules", "tests/training/bundles_test.py"],
    ),
    # The first two are where the rules were before there were the others.
    "nas": (
        ["nas/policy.py", "nas/mutations.py", "nas/rules.py", "nas/records.py"],
        ["tests/nas"],
    ),
    "training": (["tfcaps/training"], ["tests/training"]),
}
# In the name of a test or its file: other backends, several devices, whole searches. They take
# longer than all others together.
TOO_SLOW = "jax or two_devices or search_test or lesion_test or weight_transfer or test_variants"
CPU_SECONDS, SECONDS = 300, 1500  # of one mutant; beyond, it hangs
MEMORY = 12 << 30  # of addresses; a mutated size must not take the whole machine
IMPORTED_ONCE = ("tensorflow", "keras", "matplotlib.pyplot", "pytest")


def tests_of(tree: Path, area: str, file: str = "") -> list[str]:
    """The tests nearest to a file, if there is one, then its area's, then the doctests.

    A module whose doctests come first is imported twice: once by its path, once by the others.
    """
    mutated, tests = AREAS[area]
    inside = file.removeprefix("tfcaps/").removesuffix(".py")  # tests/ has no folder of that name
    nearest, doctests = ([f"tests/{inside}_test.py"], [file]) if file else ([], mutated)
    return [test for test in [*nearest, *tests, *doctests] if (tree / test).exists()]


class _Tests:
    """Puts tests into the order of the arguments, and writes down the first that fails."""

    def __init__(self, arguments: list[str], note: Path):
        self._arguments, self._note = arguments, note

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: [not item.nodeid.startswith(a) for a in self._arguments])

    def pytest_runtest_logreport(self, report):
        if report.failed and not self._note.exists():
            self._note.write_text(report.nodeid)

    pytest_collectreport = pytest_runtest_logreport


def _test(tree: Path, tests: list[str], note: Path, log: Path) -> int:
    """Runs tests in this process, which is given up afterwards: the exit code of pytest."""
    os.setsid()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(tree)
    # Processes that a test starts must find the copy, too; a compiled file of the same size and
    # second as the mutant would hide it.
    os.environ.update(PYTHONPATH=str(tree), PYTHONDONTWRITEBYTECODE="1", TF_CPP_MIN_LOG_LEVEL="3")
    sys.path[0], sys.dont_write_bytecode = str(tree), True
    options = ["-x", "-n0", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    options += ["-k", f"not ({TOO_SLOW})", f"--basetemp={note.parent / 'tests'}"]
    pytest = importlib.import_module("pytest")
    return pytest.main([*options, *tests], plugins=[_Tests(tests, note)])


def run(tree: Path, tests: list[str], log: Path) -> dict:
    """Whether tests notice something, which one first, and what it cost."""
    note = tree.parent / "first_failure"
    note.unlink(missing_ok=True)
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = _test(tree, tests, note, log)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    _, status, usage = os.wait4(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what a test has started
    code = os.waitstatus_to_exitcode(status)
    if code > 3:  # of pytest: wrong arguments, or no tests
        sys.exit(f"Expected tests to run. Received: exit code {code} of {tests}, see {log}")
    by = note.read_text() if note.exists() else f"exit code {code}" if code else ""
    outcome = "killed" if code else "survived"
    return {"outcome": outcome, "by": by, "cpu": round(usage.ru_utime + usage.ru_stime, 1)}


def run_mutant(tree: Path, mutant: dict, log: Path) -> dict:
    """Runs the tests on a tree with a mutant, and takes it out again."""
    if not (found := mutants.find(mutant, tree)):
        return {"outcome": "gone", "by": "", "cpu": 0}
    file, line = found
    source = (tree / file).read_text()
    (tree / file).write_text(mutants.written(mutant, source, line))
    result = run(tree, tests_of(tree, mutant["area"], file), log)
    (tree / file).write_text(source)
    return {"found": f"{file}:{line + 1}", **result}


def summary(rows: list[dict]) -> str:
    """The number of outcomes by area, and each mutant that wasn't killed."""
    outcomes = collections.Counter((row["area"], row["outcome"]) for row in rows if row["file"])
    lines = [f"{area:10} {outcome:10} {n:4}" for (area, outcome), n in sorted(outcomes.items())]
    for row in rows:
        if row["outcome"] in ("survived", "gone"):
            place = f"{row.get('found', row['file'])} {row['function']}"
            lines.append(f"{row['outcome']} {place}\n  - {row['before']}\n  + {row['after']}")
    return "\n".join([*lines, f"{sum(row['cpu'] for row in rows) / 60:.1f} CPU minutes"])


def main() -> None:
    """Draws or finds mutants, runs those that have no result yet, and prints a summary."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tree", type=Path, help="a version of the package: its root folder")
    parser.add_argument("results", type=Path, help="JSON lines; an existing file is gone on with")
    parser.add_argument("--killed", type=Path, help="results; what was killed there is run here")
    parser.add_argument("--number", type=int, default=100, help="of mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args()
    if options.killed:
        earlier = [json.loads(row) for row in options.killed.read_text().splitlines()]
        drawn = [mutants.identity(row) for row in earlier if row["outcome"] == "killed"]
    else:
        paths = {area: mutated for area, (mutated, _) in AREAS.items()}
        drawn = list(mutants.draw(options.tree, paths, options.number, options.seed))
    unchanged = [{"area": area, "file": ""} for area in sorted({m["area"] for m in drawn})]
    os.nice(19)
    for name in IMPORTED_ONCE:
        importlib.import_module(name)
    log = options.results.with_suffix(".log").resolve()  # of the last run
    with tempfile.TemporaryDirectory() as folder, options.results.open("a+") as results:
        tree = Path(folder, "tree")
        leave_out = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".hypothesis")
        shutil.copytree(options.tree, tree, ignore=leave_out)
        results.seek(0)
        rows = [json.loads(row) for row in results]
        done = [mutants.identity(row) for row in rows]
        for mutant in [*unchanged, *drawn]:
            if mutants.identity(mutant) in done:
                continue
            if mutant["file"]:
                result = run_mutant(tree, mutant, log)
            else:
                result = run(tree, tests_of(tree, mutant["area"]), log)
                if result["outcome"] == "killed":
                    sys.exit(f"Expected unchanged code to pass. Received: {result['by']}, {log}")
                result["outcome"] = "unchanged"
            rows.append({**mutant, **result})
            print(json.dumps(rows[-1]), file=results, flush=True)
    print(summary(rows))


if __name__ == "__main__":
    main()
