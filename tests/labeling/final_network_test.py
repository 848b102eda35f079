"""The network that labels are for is a run as any other, and goes on where it was stopped."""

import asyncio
import pathlib

import numpy as np
import pytest

from tests.labeling import pages, server_test
from tfcaps.errors import UsageError
from tfcaps.labeling import Click, LabelingSession, Pool, final_network, label_images, session
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
    begun = final_network.begin(config, pool)
    assert begun == pathlib.Path(config.log_dir, "networks", "1-convnet")
    # Stopped before its first epoch, and begun again with more labels: those of the first time.
    pool.record([Click("more", "skip", "tab", 3)])
    assert final_network.begin(config, pool) == begun
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
    assert final_network.begin(config, again).name == "2-convnet"


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
