import json

import pytest

from tests import runs
from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.training import devices

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}


@pytest.mark.parametrize(
    "text", ["", " ", "{}", '{"cluster": {"chief": ["a:1"]}, "task": {"type": "chief"}}']
)
def test_one_task_is_fine(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    devices.check_one_machine()


@pytest.mark.parametrize("text", ["no JSON", "[1]", "3", '{"cluster": [1]}', '{"cluster": "a"}'])
def test_what_is_no_cluster_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="Expected the environment variable TF_CONFIG"):
        devices.check_one_machine()


@pytest.mark.parametrize(
    "cluster", [TWO["cluster"], {"chief": ["a:1"], "worker": ["b:1"]}], ids=["workers", "chief"]
)
def test_several_machines_are_refused(cluster, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps({**TWO, "cluster": cluster}))
    with pytest.raises(UsageError, match="Received: 2 tasks"):
        devices.check_one_machine()


def test_a_training_of_several_machines_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(TWO))
    with pytest.raises(UsageError, match="TF_CONFIG"):
        training.train(runs.plain(tmp_path / "run"))
    assert not list(tmp_path.iterdir())
