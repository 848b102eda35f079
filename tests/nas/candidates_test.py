"""What changes would do, beside networks that are really changed."""

import keras
import numpy as np
import pytest

from nas import candidates
from nas.architecture import Architecture, prune, widen
from nas.configuration import SearchConfig
from tests import reference
from tfcaps import datasets
from tfcaps.models import count_flops, weight_transfer
from tfcaps.training import loop
from tfcaps.training.batch_statistics import Recalibration, training_inputs

ARCHITECTURE = Architecture("resnet", (2, 1), (4, 6), "cifar")


@pytest.fixture(scope="module")
def session():
    config = SearchConfig(
        log_dir="unused",
        blocks=(2, 1),
        widths=(4, 6),
        stem="cifar",
        image_size=8,
        train_examples=300,
        validation_fraction=0.4,
        batch_size=30,
        precision="float32",
    )
    with loop.surroundings(config):
        task = config.task()
        made = loop.start(task, task.load(), ARCHITECTURE.build((8, 8, 1), 10))
        made.train_epochs(range(4), [], validate=False)
        yield made


@pytest.fixture(scope="module")
def compared(session):
    before = session.model.get_weights(), [v.numpy() for v in session.model.optimizer.variables]
    found = candidates.compare(session, ARCHITECTURE)
    after = session.model.get_weights(), [v.numpy() for v in session.model.optimizer.variables]
    return {each.change: each for each in found}, before, after


def judged(session, model):
    """Losses and verdicts of the validation split, in float64."""
    images, labels = session.data.validation.images, session.data.validation.labels
    x, _ = datasets.preprocessing("mnist5k", "fast").evaluate(images)
    shares = reference.softmax(model(x, training=False).numpy().astype("float64"), axis=-1)
    return -np.log(shares[np.arange(len(labels)), labels]), shares.argmax(axis=-1) == labels


def recalibrated(session, architecture):
    """What is left of the network, with the statistics of the training images."""
    network = architecture.build((8, 8, 1), 10)
    weight_transfer.inherit(network, session.model)
    Recalibration(network)(training_inputs(session))
    return network


def test_what_is_compared(compared):
    found, *_ = compared
    assert list(found) == [
        *("grow 1", "grow 2", "widen 1", "widen 2"),
        *("prune stage1_block1", "prune stage1_block2"),
    ]
    assert {each.examples for each in found.values()} == {120.0}


def test_network_stays_as_it_is(compared):
    _, before, after = compared
    for one, two in zip(before, after, strict=True):
        for first, second in zip(one, two, strict=True):
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("block", ["stage1_block1", "stage1_block2"])
def test_pruning_as_the_pruned_network(session, compared, block):
    smaller = recalibrated(session, prune(ARCHITECTURE, [block]))
    losses, right = judged(session, recalibrated(session, ARCHITECTURE))
    pruned_losses, pruned_right = judged(session, smaller)
    differences = losses - pruned_losses
    found = compared[0][f"prune {block}"]
    assert found.gain == pytest.approx(differences.mean(), abs=1e-5)
    error = differences.std(ddof=1) / np.sqrt(120)
    assert found.error == pytest.approx(error, rel=1e-4)
    assert found.won == np.sum(pruned_right > right)
    assert found.lost == np.sum(right > pruned_right)
    assert (found.flops, found.parameters) == (count_flops(smaller), smaller.count_params())


def test_new_blocks_alone_have_learnt(session, monkeypatch):
    """Switched off, they leave the network's own verdicts; all that was there is as it was."""
    made = []
    fitted = candidates._fitted
    monkeypatch.setattr(candidates, "_fitted", lambda *args: made.append(fitted(*args)) or made[-1])
    found = candidates.compare(session, ARCHITECTURE)
    (network,) = made
    assert network.block_names == (
        *ARCHITECTURE.block_names[:2],
        "stage1_block3",
        *("stage2_block1", "stage2_block2"),
    )
    old = {variable.path: variable.numpy() for variable in session.model.trainable_variables}
    for variable in network.variables:
        if variable.path in old:
            known = old[variable.path]
            np.testing.assert_array_equal(variable.numpy()[tuple(map(slice, known.shape))], known)
    # Of the last comparison, of a pruning: nothing comes of new filters.
    for name, filters in (("stage1_block2", 4), ("stage1_block3", 4), ("stage2_block1", 6)):
        added = np.array(network.get_layer(name).conv2.kernel)[:, :, filters:]
        assert added.shape[2] == filters // 2
        assert not added.any()
    gammas = [network.get_layer(f"stage{s}_block{b}").bn2.gamma for s, b in ((1, 3), (2, 2))]
    assert all(np.abs(keras.ops.convert_to_numpy(gamma)).min() > 0 for gamma in gammas)
    losses, _ = judged(session, recalibrated(session, ARCHITECTURE))
    model = network.lesionable
    keep = np.float32([1, 1, 0, 1, 1])
    Recalibration(model)(
        {"image": images, "keep": np.tile(keep, (len(images), 1))}
        for images in training_inputs(session)
    )
    x, _ = datasets.preprocessing("mnist5k", "fast").evaluate(session.data.validation.images)
    keep = np.tile(keep, (120, 1))
    logits = model({"image": x, "keep": keras.ops.array(keep)}, training=False).numpy()
    shares = reference.softmax(logits.astype("float64"), axis=-1)
    labels = session.data.validation.labels
    only_second = -np.log(shares[np.arange(120), labels])
    gain = {each.change: each.gain for each in found}["grow 2"]
    assert gain == pytest.approx((losses - only_second).mean(), abs=1e-5)


def test_widening_as_the_widened_network(session, monkeypatch):
    """With the new filters as they were learnt; old ones are the network's."""
    made = []
    fitted = candidates._fitted
    monkeypatch.setattr(candidates, "_fitted", lambda *args: made.append(fitted(*args)) or made[-1])
    learnt = {}
    switches = candidates._Judge

    def noting(network, *arguments):
        learnt.update({v.path: v.numpy() for v in network.variables})
        return switches(network, *arguments)

    monkeypatch.setattr(candidates, "_Judge", noting)
    found = {each.change: each for each in candidates.compare(session, ARCHITECTURE)}["widen 2"]
    wider = widen(ARCHITECTURE, 2)
    network = wider.build((8, 8, 1), 10)
    weight_transfer.inherit(network, session.model)
    for variable in network.variables:
        if variable.path.startswith("stage2_block1/"):
            variable.assign(learnt[variable.path])
    assert np.abs(learnt["stage2_block1/conv2/kernel"][:, :, 6:]).min() > 0
    Recalibration(network)(training_inputs(session))
    losses, right = judged(session, recalibrated(session, ARCHITECTURE))
    wider_losses, wider_right = judged(session, network)
    assert found.gain == pytest.approx((losses - wider_losses).mean(), abs=1e-5)
    assert found.won == np.sum(wider_right > right)
    assert (found.flops, found.parameters) == (count_flops(network), network.count_params())
