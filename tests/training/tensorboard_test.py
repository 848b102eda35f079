"""The TensorBoard callback, by reading its event files back."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcaps import plots
from tfcaps.training.capsule_figures import draw
from tfcaps.training.tensorboard import RunSummaries


def events(directory):
    """Reads {(tag, step): (plugin, value)} from all event files of one TensorBoard run."""
    found = {}
    for path in sorted(pathlib.Path(directory).glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                found[value.tag, event.step] = (plugin, tf.make_ndarray(value.tensor))
    return found


def scalars(directory):
    found = events(directory)
    assert all(plugin == "scalars" for plugin, _ in found.values())
    return {key: float(value) for key, (_, value) in found.items()}


def compiled(model):
    losses = {"lengths": "mse"} | ({} if model.decoder is None else {"reconstruction": "mse"})
    model.compile(optimizer=keras.optimizers.SGD(0.125), loss=losses)
    return model


@pytest.fixture
def summaries(tmp_path, examples, class_names):
    """Makes callbacks for one directory and a model: `summaries(model, first_epoch=0)`."""
    images, labels = examples

    def make(model, **arguments):
        probe = {"image": images, "original": images, "label": labels}
        callback = RunSummaries(
            tmp_path, lambda m: draw(m, probe, class_names, is_finished=False), **arguments
        )
        callback.set_model(model)
        return callback

    return make


def test_numbers_go_to_their_runs(tmp_path, plain_capsnet, summaries):
    callback = summaries(compiled(plain_capsnet()))
    callback.on_epoch_end(2, {"loss": 0.5, "accuracy": np.float32(0.75), "val_loss": 0.25})

    # Read before the end of training: a run that is killed has what it had.
    assert scalars(tmp_path / "train") == {
        ("loss", 2): 0.5,
        ("accuracy", 2): 0.75,
        ("learning_rate", 2): 0.125,
    }
    assert scalars(tmp_path / "validation") == {("loss", 2): 0.25}


def test_a_reported_learning_rate_is_taken_as_it_is(tmp_path, plain_capsnet, summaries):
    summaries(compiled(plain_capsnet())).on_epoch_end(0, {"learning_rate": 0.5})

    assert scalars(tmp_path / "train") == {("learning_rate", 0): 0.5}


def test_first_epoch_is_added(tmp_path, plain_capsnet, summaries):
    summaries(compiled(plain_capsnet()), first_epoch=7).on_epoch_end(2, {"loss": 0.5})

    assert ("loss", 9) in scalars(tmp_path / "train")
    assert {step for _, step in events(tmp_path / "probe")} == {9}


def test_pictures_and_histograms(tmp_path, plain_capsnet, summaries, examples, class_names):
    images, labels = examples
    summaries(compiled(plain_capsnet())).on_epoch_end(0, {})

    found = events(tmp_path / "probe")
    assert {tag: plugin for (tag, _), (plugin, _) in found.items()} == {
        "confusion_matrix": "images",
        "reconstructions": "images",
        "couplings/hidden": "histograms",
        "couplings/classes": "histograms",
    }
    expected = {
        "confusion_matrix": plots.confusion_matrix(
            np.array([[1, 0, 1], [0, 1, 0], [0, 0, 1]]), class_names
        ),
        "reconstructions": plots.reconstructions(
            images, images, labels=labels, predictions=[0, 1, 2, 2], class_names=class_names
        ),
    }
    for tag, figure in expected.items():
        # An image summary holds its width, its height and the PNG files.
        drawn = tf.io.decode_png(found[tag, 0][1][2]).numpy()
        np.testing.assert_array_equal(drawn, plots.to_array(figure))
    # Rows of a histogram are (left edge, right edge, count): 9 couplings of 1/3 for 4 images.
    histogram = found["couplings/hidden", 0][1]
    assert histogram[:, 2].sum() == 36
    filled = histogram[histogram[:, 2] > 0]
    assert (filled[:, 0] <= 1 / 3 + 1e-6).all()
    assert (filled[:, 1] >= 1 / 3 - 1e-6).all()


def test_without_a_decoder_there_are_no_pairs(tmp_path, plain_capsnet, summaries):
    summaries(compiled(plain_capsnet(use_decoder=False))).on_epoch_end(0, {})

    tags = {tag for tag, _ in events(tmp_path / "probe")}
    assert tags == {"confusion_matrix", "couplings/hidden", "couplings/classes"}


def fit(model, callback, examples, **arguments):
    images, labels = examples
    targets = {"lengths": np.eye(3, dtype="float32")[labels], "reconstruction": images}
    model.fit(
        images,
        targets,
        validation_data=(images, targets),
        callbacks=[callback],
        verbose=0,
        **arguments,
    )


def test_a_resumed_run_goes_on_beside_the_earlier_events(
    tmp_path, plain_capsnet, summaries, examples
):
    model = compiled(plain_capsnet())
    fit(model, summaries(model), examples, epochs=2)
    before = scalars(tmp_path / "train")
    fit(model, summaries(model), examples, initial_epoch=2, epochs=3)
    after = scalars(tmp_path / "train")

    assert {step for tag, step in before if tag == "loss"} == {0, 1}
    assert {step for tag, step in after if tag == "loss"} == {0, 1, 2}
    assert before.items() <= after.items()
    assert len(list((tmp_path / "train").iterdir())) == 2
    assert {step for _, step in scalars(tmp_path / "validation")} == {0, 1, 2}


def test_under_a_distribution_strategy(tmp_path, plain_capsnet, summaries, examples):
    with tf.distribute.MirroredStrategy(["/cpu:0"]).scope():
        model = compiled(plain_capsnet())
    fit(model, summaries(model), examples, epochs=1)

    assert ("reconstructions", 0) in events(tmp_path / "probe")
    assert ("loss", 0) in scalars(tmp_path / "validation")


def test_files_that_cannot_be_written(tmp_path, plain_capsnet):
    (tmp_path / "file").write_text("kept")
    callback = RunSummaries(tmp_path / "file", lambda _: ({}, {}))
    callback.set_model(compiled(plain_capsnet()))

    with pytest.raises(NotADirectoryError) as caught:
        callback.on_epoch_end(0, {"loss": 0.5})
    assert caught.value.filename == f"{tmp_path}/file"
    assert (tmp_path / "file").read_text() == "kept"
