"""What a step needs, by hand, and the sentence where there is less."""

import keras
import pytest
import tensorflow as tf

from tests import runs
from tfcaps import layers, measure, training
from tfcaps.errors import UsageError
from tfcaps.training import memory
from tfcaps.training.image_classifiers import ImageClassifierTask


def compiled(optimizer="adam"):
    images = keras.Input((4, 3))
    model = keras.Model(images, layers.DenseCapsule(2, 5, use_bias=False)(images))
    model.compile(optimizer)
    return model


@pytest.mark.parametrize(("optimizer", "slots"), [("adam", 2), ("sgd", 0)])
def test_estimate(optimizer, slots):
    weights = 2 * 4 * 5 * 3  # a matrix for each pair of capsules
    outputs = 4 * 3 + 2 * 5  # the images', and the capsules'
    votes = 2 * 4 * 5
    numbers = weights * (2 + slots) + 7 * (3 * outputs + 6 * votes)
    found = memory.step_megabytes(compiled(optimizer), 7)
    assert found == pytest.approx(4 * numbers / 2**20)


def test_layers_in_a_model_in_the_network_count():
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(50)])
    images = keras.Input((3,))
    model = keras.Model(images, inner(images))
    model.compile("sgd")
    # 4·50 weights with gradients; outputs of both inputs and of the layer.
    numbers = 2 * 200 + 2 * (3 * (3 + 3 + 50))
    assert memory.step_megabytes(model, 2) == pytest.approx(4 * numbers / 2**20)


@pytest.mark.parametrize(("there", "is_warned"), [(1e9, False), (0.7, True)])
def test_says_what_it_needs(there, is_warned, monkeypatch, capsys):
    monkeypatch.setattr(measure, "machine_megabytes", lambda: there * 1.0)
    monkeypatch.setattr(memory, "step_megabytes", lambda *_: 1.0)
    memory.check(compiled(), 7, UsageError)
    output = capsys.readouterr()
    assert output.out == "120 weights; a step with 7 examples needs about 1 MB.\n"
    assert ("more than" in output.err) is is_warned


def test_inputs_of_any_length_have_no_estimate(monkeypatch, capsys):
    monkeypatch.setattr(measure, "machine_megabytes", lambda: 0.0)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.Dense(5)])
    model.compile("sgd")
    memory.check(model, 7, UsageError)
    assert capsys.readouterr().out == "20 weights.\n"


def test_too_much_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "machine_megabytes", lambda: 0.001)
    with pytest.raises(UsageError) as caught:
        training.train(runs.plain(tmp_path / "run"))
    for part in ("--batch_size=32", "28×28", "EfficientCapsNet"):
        assert part in str(caught.value)
    assert not (tmp_path / "run" / "run.json").exists()


OUT_OF_MEMORY = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")


@pytest.mark.parametrize("error", [MemoryError(), OUT_OF_MEMORY])
def test_running_out_while_the_network_is_built(error, tmp_path, monkeypatch):
    def build(*_):
        raise error

    monkeypatch.setattr(ImageClassifierTask, "network", build)
    with pytest.raises(UsageError, match=r"EfficientCapsNet.*--batch_size=32 and images of 28×28"):
        training.train(runs.plain(tmp_path / "run"))


def test_full_disk_is_another_error():
    error = tf.errors.ResourceExhaustedError(None, None, "No space left on device")
    with pytest.raises(tf.errors.ResourceExhaustedError), memory.told(UsageError):
        raise error


def test_container_and_process_limit_the_machine(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    limit.write_text(f"{3 * 2**20}\n")
    monkeypatch.setattr(measure, "_CONTAINER_LIMITS", (str(tmp_path / "none"), str(limit)))
    assert measure.machine_megabytes() == 3
    limit.write_text("max\n")
    assert measure.machine_megabytes() > 100
