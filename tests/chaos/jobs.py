"""Small pieces of work for each program that can be resumed; the same command goes on with it."""

import pathlib
from collections.abc import Callable

from tests import runs

_DATA = ("--train_examples=200", "--validation_fraction=0.2", "--batch_size=32")
_RESIDUAL = (
    *_DATA,
    *("--model=resnet", "--blocks=2,3", "--widths=4,8", "--stem=cifar", "--learning_rate=0.01"),
)


def _prepared_network(folder: pathlib.Path) -> pathlib.Path:
    """The run of a residual network that has learnt something, for what begins with one."""
    path = folder / "network"
    if not (path / "results.json").exists():
        command = (
            *(f"--log_dir={path}", "--recipe=fast", "--blocks=1,2", "--widths=8,16"),
            *("--train_examples=2000", "--batch_size=64", "--epochs=6"),
            *("--conflicting_samples_size=0", "--test=false"),
        )
        code, _, errors = runs.finish(runs.start("train_network", *command))
        if code:
            raise RuntimeError(errors)
    return path


# The arguments of each, without --log_dir and --resume, given a folder for what they begin with.
JOBS: dict[str, Callable[[pathlib.Path], tuple[str, ...]]] = {
    "train_capsnet": lambda _: (
        *_DATA,
        *("--routing=em", "--layers=4,4,10", "--dimensions=4,4,4", "--epochs=4"),
    ),
    "train_network": lambda _: (*_RESIDUAL, "--conflicting_samples_size=32", "--epochs=4"),
    # Without a bound of time, and by a cost that isn't measured: decisions depend on numbers alone.
    "auto_tune": lambda _: (
        *_DATA,
        *("--blocks=1,1", "--widths=4,4", "--conflicting_samples_size=32", "--cost=flops"),
        *("--steps_per_epoch=4", "--check_epochs=1", "--max_trials=3", "--epochs=2"),
        *("--final_steps_per_epoch=4", "--precision=float32"),
    ),
    "depth_experiment": lambda _: (
        *("--datasets=mnist5k", "--depths=2,3", "--routings=rba", "--make_skips=true"),
        *("--train_examples=100", "--epochs=2", "--primary_capsules=2", "--workers=1"),
    ),
    "prune_transformer": lambda folder: (
        *(f"--model={_prepared_network(folder)}", "--task=mnist5k", "--prune_n_layers=1"),
        *("--train_examples=2000", "--batch_size=32", "--epochs=1", "--seeds=1"),
        *("--steps_per_epoch=8", "--learning_rate=1e-3"),
    ),
    "guided_labeling": lambda _: (
        *("--simulate", "--dataset=mnist5k", "--strategies=random,margin", "--pool_size=500"),
        *("--test_size=500", "--budgets=20,40,60", "--runs=2"),
    ),
}
