"""The sign experiment: stacked networks are what they are alone, and the program around them."""

import csv
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import runs
from tfcaps import routing as routings
from tfcaps.errors import UsageError
from tfcaps.experiments import SignExperiment, count_above, network_stack, sign, sign_experiment
from tfcaps.experiments.network_stack import Member, NetworkStack
from tfcaps.experiments.stacked_votes import StackedVotes
from tfcaps.layers import DenseCapsule
from tfcaps.ops import safe_norm

CAPSULES, DIM = 4, 3
MEMBERS = (Member(True, 0), Member(False, 0), Member(True, 1))
TINY = {
    "routing": ("rba",),
    "hidden_layers": (1, 2),
    "capsules": (5,),
    "dimensions": (4,),
    "runs": 2,
    "examples": 64,
    "batch_size": 32,
    "epochs": 2,
    "learning_rate": 0.01,
    "workers": 1,
}


def experiment(log_dir, **changes) -> SignExperiment:
    return SignExperiment(log_dir=str(log_dir), **{**TINY, **changes})


class Alone:
    """One network of a stack, built of the package's own layers, with the stack's weights."""

    def __init__(self, stack: NetworkStack, member: int, depth: int, routing):
        use_bias, self.run = stack.members[member]
        self.place = (member, stack.hidden_layers.index(depth))
        sizes = [(CAPSULES, DIM)] * depth + [(2, 10)]
        self.layers = [
            DenseCapsule(*size, routing=dict(routing), use_bias=use_bias) for size in sizes
        ]
        self.lengths(np.ones((1,), "float32"))
        for layer, weights in zip(self.layers, stack.weights(member, depth), strict=True):
            kernel, bias, *others = weights
            layer.kernel.assign(self.as_dense(kernel))
            if use_bias:
                layer.bias.assign(bias[0])
            for own, other in zip(layer.routing.trainable_variables, others, strict=True):
                own.assign(other[0])

    @staticmethod
    def as_dense(kernel):
        """(I, O, E, D) → (O, I, E, D)."""
        return np.swapaxes(kernel, 0, 1)

    def lengths(self, x):
        capsules = tf.reshape(x, (-1, 1, 1))
        for layer in self.layers:
            capsules = layer(capsules)
        return safe_norm(capsules)

    def train(self, batches):
        """Adam on the margin loss with λ = 1, written down."""
        optimizer = keras.optimizers.Adam(0.01)
        variables = [v for layer in self.layers for v in layer.trainable_variables]
        for x in batches:
            truth = np.stack([x < 0, x > 0], axis=1).astype("float32")
            with tf.GradientTape() as tape:
                lengths = self.lengths(x)
                short = tf.square(tf.maximum(0.9 - lengths, 0.0))
                long = tf.square(tf.maximum(lengths - 0.1, 0.0))
                loss = tf.reduce_mean(tf.reduce_sum(truth * short + (1 - truth) * long, axis=1))
            gradients = tape.gradient(loss, [v.value for v in variables])
            optimizer.apply(gradients, variables)


@pytest.mark.parametrize(("name", "deepest"), [("rba", 3), ("em", 2), ("sda", 2)])
def test_stacked_networks_are_what_they_are_alone(name, deepest, monkeypatch):
    """Outputs before, and weights after some steps, of networks of other depths beside them."""
    # Without bias, the published weights leave lengths of 1e-10 and no gradient to compare.
    monkeypatch.setattr(network_stack, "KERNEL_STDDEV", 3.0)
    routing = {"name": name, "iterations": 2}
    depths = range(1, deepest + 1)
    stack = NetworkStack(depths, MEMBERS, CAPSULES, DIM, routing, learning_rate=0.01, seed=3)
    networks = {
        (member, depth): Alone(stack, member, depth, routing)
        for member in range(len(MEMBERS))
        for depth in depths
    }
    x = sign._points(16)
    before = stack.lengths(np.tile(x, (len(MEMBERS), 1)))
    for alone in networks.values():
        np.testing.assert_allclose(before[alone.place], alone.lengths(x), atol=1e-5)

    stack.train_epoch(x, 0, batch_size=8)
    after = stack.lengths(np.tile(x, (len(MEMBERS), 1)))
    assert np.abs(after - before).max() > 5e-4
    for (member, depth), alone in networks.items():
        order = np.random.default_rng([3, alone.run, 0]).permutation(16)
        alone.train(x[order].reshape(2, 8))
        np.testing.assert_allclose(after[alone.place], alone.lengths(x), atol=2e-4)
        for layer, (kernel, bias, *_) in zip(
            alone.layers, stack.weights(member, depth), strict=True
        ):
            # Adam moves a weight by its rate however small the gradient is, rounding included.
            moved = alone.as_dense(kernel)
            np.testing.assert_allclose(moved, layer.kernel, atol=1e-3, err_msg=str(depth))
            if layer.use_bias:
                np.testing.assert_allclose(bias[0], layer.bias, atol=1e-3)
            else:
                np.testing.assert_array_equal(bias, np.full_like(bias, 0.1))  # as it was


def test_stacked_votes_and_gradients():
    random = np.random.default_rng(0)
    inputs = random.normal(size=(2, 3, 4, 5)).astype("float32")
    kernel = random.normal(size=(2, 4, 6, 7, 5)).astype("float32")
    upstream = random.normal(size=(2, 3, 6, 7)).astype("float32")
    inputs, kernel = tf.constant(inputs), tf.constant(kernel)
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        x = StackedVotes(inputs, kernel).open(linear=1)
        sums = x.weighted_sum(tf.ones((2, 3, 6, 4)))
        result = tf.reduce_sum(upstream * sums)
    gradients = tape.gradient(result, [inputs, kernel])
    votes = np.einsum("mbid,mioed->mboe", inputs.numpy().astype(float), kernel)
    np.testing.assert_allclose(sums, votes, atol=1e-5)
    expected = np.einsum("mboe,mioed->mbid", upstream.astype(float), kernel)
    np.testing.assert_allclose(gradients[0], expected, atol=1e-5)
    expected = np.einsum("mboe,mbid->mioed", upstream.astype(float), inputs)
    np.testing.assert_allclose(gradients[1], expected, atol=1e-5)


class TestInitialWeights:
    @staticmethod
    def weights(depths, members, member, depth, **options):
        stack = NetworkStack(depths, members, CAPSULES, DIM, "em", **options)
        return stack.weights(member, depth)

    def test_distribution(self):
        routing = {"name": "em", "cost": "published"}
        stack = NetworkStack([2], [Member(True, r) for r in range(20)], 10, 10, routing)
        networks = [stack.weights(member, 2)[1] for member in range(20)]
        kernel, bias, beta_a, beta_u = (np.stack(each) for each in zip(*networks, strict=True))
        assert kernel.shape == (20, 10, 10, 10, 10)
        # 200,000 draws: five standard errors.
        assert abs(kernel.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * kernel.size)
        assert abs(kernel.mean()) < 5 * 0.5 / np.sqrt(kernel.size)
        np.testing.assert_array_equal(bias, np.full((20, 1, 10, 10), np.float32(0.1)))
        assert beta_a.shape == beta_u.shape == (20, 1, 10)
        assert len(np.unique([beta_a, beta_u])) == 400  # none is another's copy
        assert abs(beta_a.std() - 0.2) < 5 * 0.2 / np.sqrt(2 * beta_a.size)

    def test_they_do_not_depend_on_the_company(self):
        alone = self.weights([2], [Member(True, 1)], 0, 2)
        together = self.weights([1, 2, 3], [Member(False, 0), Member(False, 1)], 1, 2)
        for mine, ours in zip(alone, together, strict=True):
            for one, other in zip(mine, ours, strict=True):
                np.testing.assert_array_equal(one, other)

    def test_runs_and_seeds_differ(self):
        members = [Member(True, run) for run in (0, 1)]
        first, second = (self.weights([1], members, member, 1)[0][0] for member in (0, 1))
        other = self.weights([1], members, 1, 1, seed=1)[0][0]
        assert len(np.unique([first, second, other])) == 3 * np.size(first)


def test_points():
    x = sign._points(4096)
    assert x.shape == (4096,) and x.dtype == np.float32
    assert x.min() == -1.0 and x.max() == 1.0 and 0.0 not in x
    np.testing.assert_array_equal(x, -x[::-1])
    np.testing.assert_allclose(np.diff(x), 2 / 4095, atol=1e-7)


def test_networks_above_thresholds():
    def row(dimensions, run, accuracy, use_bias=True):
        return dict(zip(sign._ROW, ("em", use_bias, 1, 10, dimensions, run, accuracy), strict=True))

    # Means: 0.5 without bias; 0.75, and 0.6, which is not above 0.6, with it.
    table = count_above(
        [row(10, 0, 0.5, use_bias=False), row(10, 0, 0.75), row(12, 0, 0.7), row(12, 1, 0.5)]
    )
    assert table == [
        {"routing": "em", "use_bias": False, "networks": 1}
        | {"above_0": 1, "above_0.6": 0, "above_0.7": 0, "above_0.8": 0, "above_0.9": 0},
        {"routing": "em", "use_bias": True, "networks": 2}
        | {"above_0": 2, "above_0.6": 1, "above_0.7": 1, "above_0.8": 0, "above_0.9": 0},
    ]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished experiment with two parts; tests change copies of it only."""
    folder = tmp_path_factory.mktemp("sign") / "run"
    sign_experiment(experiment(folder, capsules=(4, 5)))
    return folder


class TestExperiment:
    def rows(self, folder):
        with (folder / "networks.csv").open() as file:
            return list(csv.DictReader(file))

    def test_without_bias_nothing_is_learnt(self, finished):
        """Lengths of x and −x agree, so exactly one of the two is decided right."""
        rows = self.rows(finished)
        assert len(rows) == 2 * 2 * 2 * 2  # bias × hidden layers × capsules × runs
        without = [float(row["accuracy"]) for row in rows if row["use_bias"] == "false"]
        assert without == [0.5] * 8

    def test_with_bias_the_sign_is_learnt(self, tmp_path):
        table = sign_experiment(
            experiment(tmp_path, routing=("em",), use_bias=(True,), epochs=20, hidden_layers=(1,))
        )
        assert table[0]["above_0.9"] == 1

    def test_resumes_to_the_same_files(self, finished, tmp_path, capsys):
        folder = shutil.copytree(finished, tmp_path / "run")
        (folder / "parts" / "rba_5x4.npz").unlink()
        for name in ("networks.csv", "table.csv", "figures/decisions.png"):
            (folder / name).unlink()
        (folder / "parts" / ".writing-x.npz").write_text("half a file of a killed process")
        sign_experiment(experiment(folder, capsules=(4, 5), resume=True))
        assert "Part 1/1: rba, 5 capsules of dimension 4" in capsys.readouterr().out
        assert runs.snapshot(folder).keys() == runs.snapshot(finished).keys()
        for name in ("networks.csv", "table.csv"):
            assert (folder / name).read_text() == (finished / name).read_text()

    def test_a_finished_one_is_not_trained_again(self, finished, tmp_path, monkeypatch):
        folder = shutil.copytree(finished, tmp_path / "run")
        monkeypatch.delattr(network_stack, "NetworkStack")
        sign_experiment(experiment(folder, capsules=(4, 5), resume=True))
        assert self.rows(folder) == self.rows(finished)

    def test_several_processes_give_the_same_files(self, forked, finished, tmp_path, capsys):
        sign_experiment(experiment(tmp_path / "run", capsules=(4, 5), workers=2))
        out = capsys.readouterr().out
        assert "2 processes share 2 trainings." in out
        assert "Part 1/2: " in out and "Part 2/2: " in out
        assert runs.snapshot(tmp_path / "run").keys() == runs.snapshot(finished).keys()
        assert self.rows(tmp_path / "run") == self.rows(finished)

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            (
                {},
                "Expected --log_dir without an experiment, or --resume to go on with it. "
                "Received: --log_dir={}, which holds an experiment",
            ),
            (
                {"resume": True, "runs": 3},
                "Expected --runs=2, as the experiment in {} was started with, to go on with it. "
                "Received: --runs=3",
            ),
            (
                {"resume": True, "use_bias": (True,)},
                "Expected --use_bias=true,false, as the experiment in {} was started with, "
                "to go on with it. Received: --use_bias=true",
            ),
        ],
    )
    def test_another_experiments_folder(self, finished, changes, sentence):
        before = runs.snapshot(finished)
        with pytest.raises(UsageError) as caught:
            sign_experiment(experiment(finished, **changes))
        assert str(caught.value) == sentence.format(finished)
        assert runs.snapshot(finished) == before

    def test_diverged(self, tmp_path, monkeypatch):
        monkeypatch.setattr(
            NetworkStack, "differences", lambda self, x, _: np.full((1, 2, len(x)), np.nan)
        )
        monkeypatch.setattr(NetworkStack, "train_epoch", lambda *_: None)
        with pytest.raises(UsageError, match=r"finite lengths.*rba, 5 capsules.*--learning_rate"):
            sign_experiment(experiment(tmp_path, use_bias=(True,), runs=1))
        assert not list((tmp_path / "parts").iterdir())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"routing": ["em", "dynamic"]},
            f"Expected --routing to be distinct ones of {', '.join(routings.names())}. "
            "Received: em,dynamic",
        ),
        ({"use_bias": ["maybe"]}, "Expected --use_bias to be true, false or both. Received: maybe"),
        (
            {"capsules": ["10", "0"]},
            "Expected --capsules to be distinct positive integers. Received: 10,0",
        ),
        (
            {"dimensions": [10, 10]},
            "Expected --dimensions to be distinct positive integers. Received: 10,10",
        ),
        (
            {"hidden_layers": []},
            "Expected --hidden_layers to be distinct positive integers. Received: ",
        ),
        ({"runs": 0}, "Expected --runs >= 1. Received: 0"),
        ({"examples": 63}, "Expected --examples to be even. Received: 63"),
        ({"batch_size": 65}, "Expected --batch_size <= --examples=64. Received: 65"),
        ({"learning_rate": float("nan")}, "Expected --learning_rate > 0. Received: nan"),
        ({"seed": -1}, "Expected --seed >= 0. Received: -1"),
        ({"workers": -1}, "Expected --workers >= 0. Received: -1"),
    ],
    ids=lambda x: next(iter(x)) if isinstance(x, dict) else "",
)
def test_wrong_values(tmp_path, changes, sentence):
    with pytest.raises(UsageError) as caught:
        experiment(tmp_path / "new", **changes)
    assert str(caught.value) == sentence
    assert not (tmp_path / "new").exists()
