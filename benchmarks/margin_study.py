"""How well a block's margin tells what its absence costs, beside other measures of its worth.

python -m benchmarks.margin_study RUN [RUN ...]

RUN is the directory of a trained residual network. Of each block's branch the cost of a lesion is
the mean increase of the loss on the test images without it. Against it are ranked: the margin of
`BundleEntropy.margins`, bundle entropy (less is more worth), the norms of γ in the branch's last
batch normalisation and of its convolutions, and the norm of the loss's gradient by that γ. Printed
is Spearman's ρ over all blocks of all runs, ranked within each run, with a 95 % interval from 2,000
draws of blocks.
"""

import sys

import keras
import numpy as np
import tensorflow as tf
from scipy import stats

from tfcaps import datasets, training
from tfcaps.evaluation import BranchSwitches
from tfcaps.metrics import BundleEntropy

_PROBE_SIZE, _TEST_IMAGES, _DRAWS = 512, 2000, 2000


def measured(run: training.Run) -> dict[str, np.ndarray]:
    """The cost of each block's lesion, and the measures of its worth, by name."""
    model, data = run.model, run.load_data()
    names = model.residual_blocks
    test = datasets.sampling.subset(data.test, _TEST_IMAGES, seed=0)
    batches = datasets.evaluation_batches(test, run.preprocessing, batch_size=250)
    judge = BranchSwitches(model, batches.map(lambda batch: (batch["image"], batch["label"])))
    whole = judge(()).losses
    probe = datasets.probe_set(data.train, _PROBE_SIZE, seed=run.config.seed)
    images = np.asarray(run.preprocessing.evaluate(probe.images)[0])
    measure = BundleEntropy(
        model,
        [f"{name}/branch" for name in names],
        learning_rate=run.config.learning_rate,
        batch_size=run.config.batch_size,
    )
    blocks = [model.get_layer(name) for name in names]
    return {
        "cost": np.array([float((judge([name]).losses - whole).mean()) for name in names]),
        "margin": np.array(list(measure.margins(images, probe.labels).values())),
        "-H": np.array([-found.entropy for found in measure(images, probe.labels).values()]),
        "|gamma|": np.array([_norm([block.bn2.gamma]) for block in blocks]),
        "|weights|": np.array(
            [_norm([block.conv1.kernel, block.conv2.kernel]) for block in blocks]
        ),
        "|gradient|": _gradients(model, blocks, images, probe.labels),
    }


def _norm(variables) -> float:
    return float(np.sqrt(sum(np.sum(np.square(v.numpy().astype("float64"))) for v in variables)))


def _gradients(model, blocks, images, labels) -> np.ndarray:
    """‖∂L/∂γ‖ of each block's last batch normalisation, at inference."""
    variables = [block.bn2.gamma.value for block in blocks]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(variables)
        logits = model(images, training=False)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    return np.array([float(tf.norm(each)) for each in tape.gradient(loss, variables)])


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within a run, from 0 to 1."""
    return (stats.rankdata(values) - 1) / max(len(values) - 1, 1)


def main(folders: list[str]) -> None:
    """Prints a table."""
    if not folders:
        sys.exit(__doc__)
    found = [measured(training.load_run(folder)) for folder in folders]
    ranks = {name: np.concatenate([_ranks(each[name]) for each in found]) for name in found[0]}
    cost = ranks.pop("cost")
    print(f"{len(cost)} blocks of {len(found)} runs")
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(cost), size=(_DRAWS, len(cost)))
    for name, values in ranks.items():
        if np.ptp(values) == 0:
            print(f"{name:12} the same for all blocks")
            continue
        rho = stats.spearmanr(cost, values).statistic
        draws = [stats.spearmanr(cost[rows], values[rows]).statistic for rows in drawn]
        low, high = np.nanpercentile(draws, [2.5, 97.5])
        print(f"{name:12} {rho:+.2f} ({low:+.2f} to {high:+.2f})", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
