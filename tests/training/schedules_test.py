"""The learning rate over a training, against the formulas in float64."""

import csv
import dataclasses
import math
import pathlib

import keras
import numpy as np
import pytest

from tests import runs
from tfcaps import training
from tfcaps.errors import UsageError
from tfcaps.training import BlockNetworkConfig, schedules, train

STEPS = 10  # of an epoch


def rates(config, steps=STEPS) -> list[float]:
    """The learning rate of each step of a training."""
    (callback,) = schedules.callbacks(config, steps)
    return [float(callback.schedule(step)) for step in range(config.epochs * steps)]


def cosine(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def test_cosine_with_warm_up_of_a_part_of_an_epoch():
    config = runs.plain("x", schedule="cosine", learning_rate_decay=1.0, warmup_epochs=0.4)
    expected = [0.004 * (step + 1) / 5 for step in range(4)]
    expected += [cosine(0.004, 0.0, step / 26) for step in range(26)]
    np.testing.assert_allclose(rates(config), expected, rtol=1e-4)


def test_cosine():
    config = runs.plain("x", schedule="cosine", learning_rate_decay=1.0)
    expected = [cosine(0.004, 0.0, step / 30) for step in range(30)]
    np.testing.assert_allclose(rates(config), expected, rtol=1e-4)


def test_identity_is_that_of_the_rates():
    alike = [runs.plain("x", warmup_epochs=w, seed=s) for w, s in ((0.5, 0), (0.5, 1))]
    others = [runs.plain("x", warmup_epochs=w) for w in (0.4, 0.0)]
    others.append(runs.plain("x", warmup_epochs=0.5, learning_rate_decay=0.7))
    one, two, *rest = [schedules.identity(config, STEPS) for config in (*alike, *others)]
    assert one == two
    assert len({one, *rest}) == 4
    assert schedules.identity(alike[0], STEPS + 1) != one


@pytest.mark.parametrize("warm_up", [0, 4])
def test_linear(warm_up):
    config = runs.plain(
        "x", schedule="linear", learning_rate_decay=1.0, warmup_epochs=warm_up / STEPS
    )
    falling = 0.004 * (1 - np.arange(30) / 30)
    rising = np.minimum(1.0, (np.arange(30) + 1) / (warm_up + 1))
    np.testing.assert_allclose(rates(config), falling * rising, rtol=1e-4)


@pytest.mark.parametrize(("given", "warm_up"), [(None, 9), (1.0, 10)])
def test_one_cycle(given, warm_up):
    config = runs.plain("x", schedule="one_cycle", learning_rate_decay=1.0, warmup_epochs=given)
    rise = np.linspace(0.004 / 25, 0.004, warm_up, endpoint=False)
    fall = [cosine(0.004, 0.004 / 250_000, s / (30 - warm_up)) for s in range(30 - warm_up)]
    np.testing.assert_allclose(rates(config), [*rise, *fall], rtol=1e-4)


def test_one_cycle_without_warm_up_begins_at_its_largest_rate():
    config = runs.plain("x", schedule="one_cycle", learning_rate_decay=1.0, warmup_epochs=0)
    assert rates(config)[0] == pytest.approx(0.004)


def test_decay_with_warm_up():
    config = runs.plain("x", warmup_epochs=1.5)
    expected = [
        0.004 * 0.5 ** (step // STEPS) * min(1, (step + 1) / 16) for step in range(3 * STEPS)
    ]
    np.testing.assert_allclose(rates(config), expected, rtol=1e-5)


def test_constant_with_warm_up():
    config = runs.plain("x", schedule="constant", learning_rate_decay=1.0, warmup_epochs=0.3)
    np.testing.assert_allclose(rates(config)[:4], [0.001, 0.002, 0.003, 0.004], rtol=1e-5)
    assert set(rates(config)[4:]) == {np.float32(0.004)}


def test_what_there_was_before_stays_as_it_was():
    """Keras' own callback sets the rate of an epoch, and a constant rate needs none."""
    (decayed,) = schedules.callbacks(runs.plain("x"), STEPS)
    assert type(decayed) is keras.callbacks.LearningRateScheduler
    assert [decayed.schedule(epoch) for epoch in range(3)] == [0.004, 0.002, 0.001]
    assert schedules.callbacks(runs.plain("x", learning_rate_decay=1.0), STEPS) == []


def test_a_warm_up_that_rounds_to_the_whole_training_leaves_a_step():
    config = runs.plain(
        "x", schedule="cosine", learning_rate_decay=1.0, warmup_epochs=0.9, epochs=1
    )
    np.testing.assert_allclose(rates(config, steps=2), [0.002, 0.004])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"schedule": "cosine"}, "exponential only, not with --schedule=cosine. Received: 0.5"),
        ({"schedule": "constant"}, "exponential only, not with --schedule=constant. Received: 0.5"),
        ({"schedule": "steps"}, "one of constant, exponential, linear, cosine, one_cycle"),
        ({"warmup_epochs": 3}, "--warmup_epochs below --epochs=3. Received: 3.0"),
        ({"warmup_epochs": -0.5}, "--warmup_epochs >= 0. Received: -0.5"),
    ],
)
def test_wrong_combinations(changes, words):
    with pytest.raises(UsageError) as caught:
        runs.plain("x", **changes)
    assert words in str(caught.value)


def rows(run):
    with (run / "metrics.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def weights(run):
    model = training.load_run(run).model
    return [*model.get_weights(), *(np.asarray(v) for v in model.optimizer.variables)]


@pytest.fixture(scope="module")
def one_cycle(tmp_path_factory):
    """A training with Lookahead, whose learning rate is that of an optimizer inside of it."""
    config = BlockNetworkConfig(
        log_dir=str(tmp_path_factory.mktemp("schedules") / "run"),
        **{"model": "fnn", "num_layers": 1, "width_layers": 4, "train_examples": 80},
        **{"batch_size": 32, "epochs": 3, "schedule": "one_cycle", "test": False},
        **{"conflicting_samples_size": 20, "save_ckpts": True, "augmentation": "none"},
    )
    train(config)
    return config


def test_a_resumed_run_goes_on_at_its_point(one_cycle, tmp_path):

    run = pathlib.Path(one_cycle.log_dir)
    # 72 examples: 3 steps an epoch, of which 0.3 · 9 ≈ 3 rise.
    found = [float(row["learning_rate"]) for row in rows(run)]
    largest, end = 0.001, 0.001 / 250_000
    expected = [largest * (1 / 25 + 24 / 25 * 2 / 3)]
    expected += [cosine(largest, end, 2 / 6), cosine(largest, end, 5 / 6)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    stopped = runs.stopped_after(1, run, tmp_path / "run")
    train(dataclasses.replace(one_cycle, log_dir=str(stopped), resume=True))
    assert rows(stopped) == rows(run)
    for one, two in zip(weights(stopped), weights(run), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_number_of_epochs_belongs_to_a_schedule_that_ends(one_cycle):

    with pytest.raises(UsageError) as caught:
        train(dataclasses.replace(one_cycle, epochs=4, resume=True))
    assert str(caught.value) == (
        f"Expected --epochs=3, as the run in {one_cycle.log_dir} was started with, to resume it. "
        "Received: --epochs=4"
    )
