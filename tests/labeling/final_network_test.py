"""The network that labels are for is a run as any other, and goes on where it was stopped."""

import asyncio
import dataclasses
import pathlib
import threading
import time

import numpy as np
import pytest

from tests.labeling import pages, server_test
from tfcaps import datasets
from tfcaps.errors import UsageError
from tfcaps.labeling import (
    Click,
    LabelingSession,
    Pool,
    final_network,
    label_images,
    ranking,
    session,
)
from tfcaps.labeling.features import Extractor
from tfcaps.labeling.rounds import read_rounds


@pytest.fixture
def folder(tmp_path):
    return pages.pictures(tmp_path / "pictures", 16)


@pytest.fixture
def config(folder):
    config = server_test.options(folder, train=True)
    pathlib.Path(config.log_dir, "thumbnails").mkdir(parents=True)
    return config


def labelled(config, names):
    """A pool with these labels, of the first images."""
    files = [f"{number:05}.png" for number in range(16)]
    pool = Pool(pathlib.Path(config.log_dir, "pool.sqlite"), files, config.classes)
    pool.record([Click(f"c{n}", "label", "tab", n, name) for n, name in enumerate(names)])
    return pool


def test_a_run_with_figures_and_an_export(config, monkeypatch, capsys):
    monkeypatch.setattr(final_network, "_FEWEST_EPOCHS", 1)
    monkeypatch.setattr(final_network, "_MOST_EPOCHS", 1)
    pool = labelled(config, ["dark", "light"] * 8)
    begun = final_network.begin(config, pool.snapshot())
    final_network.write_data(config, pool.snapshot(), begun)
    assert begun == pathlib.Path(config.log_dir, "networks", "1-convnet")
    # Stopped before its first epoch, and begun again with more labels: those of the first time.
    pool.record([Click("more", "skip", "tab", 3)])
    assert final_network.begin(config, pool.snapshot()) == begun
    assert final_network.progress(begun) == {"epochs_done": 0, "epochs": 0}
    assert final_network.newest_run(config) is None
    pool.close()
    label_images(config)
    run = begun / "run"
    assert f"The network is in {run}" in capsys.readouterr().out
    assert (run / "serving" / "1" / "saved_model.pb").exists()
    assert (run / "figures" / "learning_curves.png").exists()
    assert final_network.progress(begun) == {"epochs_done": 1, "epochs": 1}
    assert final_network.newest_run(config) == str(run)
    # Its last features are what images are compared by from now on.
    extractor = Extractor(run)
    assert extractor.size == (32, 32)
    assert extractor.features([np.zeros((32, 32, 3), np.uint8)] * 2).shape == (2, 64)
    again = labelled(config, [])
    assert final_network.begin(config, again.snapshot()).name == "2-convnet"
    # Ended before its data were whole: another one, with the labels of then.
    assert final_network.begin(config, again.snapshot()).name == "3-convnet"


@pytest.mark.parametrize(
    "names, found",
    [
        ([], "none"),
        (["dark"] * 12, "12 dark"),
        (["dark"] * 6 + ["light"] * 4, "6 dark, 4 light"),
    ],
)
def test_too_few_labels(config, names, found):
    labelled(config, names).close()
    assert server_test.refusal(config) == (
        "Expected labels of at least two classes, and at least 5 of each, to train a network. "
        f"Received: {found}"
    )
    assert not pathlib.Path(config.log_dir, "networks").exists()


def test_the_button(config, folder, monkeypatch):
    """What the page gets of it: a sentence, its progress, and why it stopped."""
    pool = labelled(config, ["dark"] * 8)
    at_work = LabelingSession(config, pool)
    app = server_test.make_app(at_work, server_test.TOKEN)

    def stopped(function, *arguments):
        assert function is final_network.train
        raise UsageError("Expected more memory. Received: little")

    monkeypatch.setattr(session, "_beside", stopped)

    async def press():
        async with server_test.client(app) as one:
            refused = await one.post("/training", json={})
            assert (refused.status_code, refused.json()["error"][-6:]) == (400, "8 dark")
            assert (await one.get("/state")).json()["training"] is None
            pool.record([Click(f"l{n}", "label", "tab", n, "light") for n in range(8, 16)])
            assert (await one.post("/training", json={})).status_code == 200
            while (found := (await one.get("/state")).json()["training"])["is_running"]:
                await asyncio.sleep(0.01)
            return found

    found = asyncio.run(press())
    assert found == {
        "run": f"{config.log_dir}/networks/1-convnet/run",
        "is_running": False,
        "error": "Expected more memory. Received: little",
        "epochs_done": 0,
        "epochs": 0,
    }


def test_images_that_were_drawn_are_its_test_images(config):
    """And so are never learned from; unless they lack a class."""
    pool = labelled(config, ["dark", "light"] * 5)
    pool.record([Click("d", "label", "tab", 10, "dark", is_random=True)])
    for name, drawn in (("1-convnet", set()), ("2-convnet", {10, 11})):
        folder = final_network.begin(config, pool.snapshot())
        final_network.write_data(config, pool.snapshot(), folder)
        assert folder.name == name
        images = folder / "labels" / "images"
        assert final_network.learned(config, str(folder / "run")) == set(pool.labels()) - drawn
        train, test, names = datasets.read_folder(str(images), 8)
        assert (len(train) + len(test), names) == (len(pool.labels()), ("dark", "light"))
        if drawn:
            assert sorted(path.name for path in images.glob("test/*/*")) == [
                *("10-00010.png", "11-00011.png"),
            ]
            assert len(test) == 2
        pool.record([Click("l", "label", "tab", 11, "light", is_random=True)])
        (folder / "run").mkdir()
        (folder / "run" / "results.json").write_text("{}")
    assert final_network.learned(config, None) == set()
    assert final_network.learned(config, "elsewhere/1-convnet/run") == set()


def test_accuracy_is_that_on_what_nothing_learned_from(config, monkeypatch):
    """Neither the model nor the network whose features it has; and a start adds no round."""
    pool = labelled(config, ["dark", "light"] * 4)
    drawn = [Click(f"d{n}", "label", "tab", n, "dark", is_random=True) for n in (8, 9, 10)]
    pool.record(drawn)
    asked = []

    def rank(function, given, labels, drawn, left):
        asked.append(drawn)
        return ranking.Ranking([], [0] * 16, 1, len(drawn), [])

    monkeypatch.setattr(session, "_beside", rank)
    at_work = LabelingSession(config, pool)
    at_work._seen = {0, 9}
    at_work._round()
    assert asked == [[8, 10]]
    assert [row["labels"] for row in at_work.rounds] == [11]
    again = LabelingSession(config, pool)
    again._round()
    assert asked[1:] == [[8, 9, 10]]
    assert again.rounds == at_work.rounds
    config = dataclasses.replace(config, retrain_every=1)
    again.config = config
    pool.record([Click("e", "label", "tab", 11, "light")])
    again._round()
    assert [(row["labels"], row["changed"]) for row in again.rounds] == [(11, 1.0), (12, 0.0)]


def test_clicks_do_not_wait_for_the_copies(config, monkeypatch):
    pool = labelled(config, ["dark", "light"] * 6)
    at_work = LabelingSession(config, pool)
    write, clicked = final_network.write_labels, threading.Event()

    def slow(*arguments):
        assert clicked.wait(20)
        return write(*arguments)

    monkeypatch.setattr(final_network, "write_labels", slow)
    monkeypatch.setattr(session, "_beside", lambda *arguments: None)
    at_work.train()
    at_work.record([Click("late", "label", "tab", 13, "light")])
    assert at_work.state()["training"]["is_running"]
    clicked.set()
    while at_work.state()["training"]["is_running"]:
        time.sleep(0.01)
    assert at_work.state()["training"]["error"] == ""
    # The labels of the time when the button was pressed.
    written = pathlib.Path(config.log_dir, "networks", "1-convnet", "labels", "labels.csv")
    assert len(written.read_text().splitlines()) == 1 + 12


@pytest.mark.parametrize(
    "text", ["{", '{"labels": 3}', "[1]", '[{"labels": 3}]', '[{"labels": "3", "low": 0.5}]',
             '[{"labels": 3, "low": NaN}]', '[{"labels": true, "low": 1}]',
             '[{"labels": 1' + 400 * "0" + ', "low": 1}]']
)  # fmt: skip
def test_damaged_rounds(tmp_path, text):
    path = tmp_path / "rounds.json"
    assert read_rounds(path, ("labels", "low")) == []
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_rounds(path, ("labels", "low"))
    assert str(caught.value) == (
        f"Expected a file of rounds with labels, low. Received: {path}, which is damaged; without "
        "it, they are computed again"
    )
    path.write_text('[{"labels": 3, "low": 0.5, "more": null}]')
    assert read_rounds(path, ("labels", "low"))[0]["labels"] == 3
