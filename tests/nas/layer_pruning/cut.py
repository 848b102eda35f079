"""A pruning as `kill -9` leaves it."""

import json
import pathlib
import shutil


def in_its_second_trial(folder: pathlib.Path) -> None:
    """Takes away what a finished pruning has done since then."""
    state = json.loads((folder / "trials" / "state.json").read_text())
    first, second, *later = state["oracle"]["start_order"]
    for name in later:
        del state["trials"][name]
    state["trials"][second]["status"] = "RUNNING"
    state["trials"][second]["metrics"] = {"metrics": {}}
    state["oracle"]["start_order"] = [first, second]
    state["oracle"]["end_order"] = [first]
    state["oracle"]["ongoing_trials"] = {"tuner0": second}
    (folder / "trials" / "state.json").write_text(json.dumps(state))
    for rest in ("best", "pruned", "fine_tuned", "serving"):
        shutil.rmtree(folder / rest)
