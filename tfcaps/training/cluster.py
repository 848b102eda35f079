"""The processes that share a training, as TensorFlow's `TF_CONFIG` has them; without TensorFlow."""

import dataclasses
import json
import os

from tfcaps.errors import UsageError

_VARIABLE = "TF_CONFIG"
# In the order in which TensorFlow counts them: the first one leads.
_KINDS = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Processes with one training, usually one a machine, and which of them this one is.

    Args:
        size: how many there are.
        index: of this one, from 0.
    """

    size: int = 1
    index: int = 0

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        return self.index == 0


def of_environment() -> Cluster:
    """The cluster that the environment asks for; that of this process alone where it doesn't.

    `{"cluster": {"worker": ["a:2222", "b:2222"]}, "task": {"type": "worker", "index": 0}}` is the
    `TF_CONFIG` of the first one of two.

    Raises:
        UsageError: the variable is no such JSON, or has tasks of another kind, as parameter servers
            are.
    """
    text = os.environ.get(_VARIABLE, "")
    if not text.strip():
        return Cluster()
    try:
        content = json.loads(text)
        tasks = {kind: list(found) for kind, found in (content.get("cluster") or {}).items()}
        task = content.get("task") or {}
        kind, index = str(task.get("type")), task.get("index", 0)
        known = all(isinstance(address, str) for found in tasks.values() for address in found)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _wrong("to be JSON with a cluster and a task", text) from None
    size = sum(map(len, tasks.values()))
    if size < 2:
        return Cluster()
    others = sorted(tasks.keys() - set(_KINDS))
    if others:
        raise _wrong(f"with tasks of the kinds {' and '.join(_KINDS)} only", ", ".join(others))
    before = {"chief": 0, "worker": len(tasks.get("chief", []))}
    is_number = type(index) is int or (isinstance(index, str) and index.isdecimal())
    if not (known and is_number and 0 <= int(index) < len(tasks.get(kind, []))):
        raise _wrong("to have addresses, and a task that is one of its cluster", text)
    return Cluster(size, before[kind] + int(index))


def expect_one_machine(work: str) -> None:
    """Checks that the environment doesn't ask for several machines, where only trainings can.

    Args:
        work: what is about to begin, with its article.

    Raises:
        UsageError: it does.
    """
    size = of_environment().size
    if size > 1:
        raise _wrong(f"to be unset, as {work} is no single training", f"{size} tasks")


def _wrong(expected: str, received: str) -> UsageError:
    return UsageError(
        f"Expected the environment variable {_VARIABLE} {expected}. Received: {received[:80]}"
    )
