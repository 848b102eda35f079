import json

import pytest
import tensorflow as tf

from nas import search
from nas.configuration import SearchConfig
from nas.layer_pruning import pruning
from nas.layer_pruning.configuration import PruningConfig
from tests import runs
from tfcaps import experiments, training
from tfcaps.errors import UsageError
from tfcaps.training import cluster

TWO = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}


def ask(monkeypatch, **parts) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({**TWO, **parts}))


@pytest.mark.parametrize(
    "text",
    ["", " ", "{}", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'],
)
def test_one_process_is_by_itself(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster.of_environment() == cluster.Cluster(size=1, index=0)
    cluster.expect_one_machine("an experiment")


@pytest.mark.parametrize(("kind", "index", "place"), [("worker", 1, 2), ("chief", 0, 0)])
def test_the_chief_comes_first(kind, index, place, monkeypatch):
    tasks = {"worker": ["a:1", "b:1"], "chief": ["c:1"]}
    ask(monkeypatch, cluster=tasks, task={"type": kind, "index": index})
    assert cluster.of_environment() == cluster.Cluster(size=3, index=place)
    assert cluster.of_environment().is_chief == (place == 0)


def test_an_index_may_be_text(monkeypatch):  # as a shell puts it together
    ask(monkeypatch, task={"type": "worker", "index": "1"})
    assert cluster.of_environment() == cluster.Cluster(size=2, index=1)


@pytest.mark.parametrize(
    "text", ["no JSON", "[1]", "3", '{"cluster": [1]}', '{"cluster": {"worker": 2}}']
)
def test_what_is_no_cluster_is_refused(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="Expected the environment variable TF_CONFIG to be JSON"):
        cluster.of_environment()


@pytest.mark.parametrize(
    "task",
    [
        *({}, {"type": "worker", "index": -1}, {"type": "worker", "index": 2}),
        *({"type": "worker", "index": "a"}, {"type": "chief", "index": 0}),
    ],
)
def test_a_task_is_one_of_the_cluster(task, monkeypatch):
    ask(monkeypatch, task=task)
    with pytest.raises(UsageError, match="a task that is one of its cluster"):
        cluster.of_environment()


def test_addresses_are_text(monkeypatch):
    ask(monkeypatch, cluster={"worker": [1, 2]})
    with pytest.raises(UsageError, match="to have addresses"):
        cluster.of_environment()


def test_parameter_servers_are_refused(monkeypatch):
    ask(monkeypatch, cluster={**TWO["cluster"], "ps": ["c:1"]})
    with pytest.raises(UsageError, match=r"chief and worker only\. Received: ps"):
        cluster.of_environment()


def test_what_is_many_trainings_is_refused(tmp_path, monkeypatch):
    ask(monkeypatch)
    folder = str(tmp_path / "run")
    for start, config in (
        (search.auto_tune, SearchConfig(log_dir=folder)),
        (pruning.prune_transformer, PruningConfig(log_dir=folder, model="somewhere")),
        (experiments.sign_experiment, experiments.SignExperiment(log_dir=folder)),
    ):
        with pytest.raises(UsageError, match=r"is no single training\. Received: 2 tasks"):
            start(config)
    assert not list(tmp_path.iterdir())


def test_other_machines_come_before_all_computation(tmp_path, monkeypatch):
    tf.constant(0)
    ask(monkeypatch)
    with pytest.raises(UsageError, match="to be the first that its process computes"):
        training.train(runs.plain(tmp_path / "run"))
    assert not list(tmp_path.iterdir())
