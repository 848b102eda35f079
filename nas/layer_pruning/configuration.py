"""What a pruning of an encoder is asked to do, and where it keeps what it writes."""

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import Any

from nas.configuration import SearchConfig
from nas.folders import TrialsFolder
from nas.layer_pruning.methods import METHODS, TIES, Method
from nas.layer_pruning.removals import Layers
from tfcaps import datasets, files
from tfcaps.errors import UsageError
from tfcaps.options import changed, fields, of, option
from tfcaps.training import PretrainedNetworkConfig, TextClassifierConfig
from tfcaps.training.fine_tuning import FineTuningConfig
from tfcaps.training.text_classifiers import tasks_on_texts

_MOST = 6  # layers that the published program removes, where there are so many
BASELINES = ("top", "random")
_OF_TEXTS = ("pooling", "max_tokens", "bucketing", "label_column", "text_columns")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruningConfig(TextClassifierConfig):
    """All choices of one pruning; a field is the flag of the same name.

    Those of a fine-tuning hold for each of them.

    Raises:
        UsageError: a value is out of its range.
    """

    log_dir: str = changed(
        TextClassifierConfig,
        "log_dir",
        help="Folder of the pruning (runs/TASK-MODEL-METHOD-TIME).",
    )
    dataset: str = changed(
        TextClassifierConfig,
        "dataset",
        help=f"{of(fields(TextClassifierConfig)['dataset']).help.removesuffix('.')}; or images: "
        "mnist5k, fashion_mnist, cifar10 and others of the catalogue, images:FOLDER.",
        aliases=("task",),
    )
    data_dir: str | None = changed(
        TextClassifierConfig,
        "data_dir",
        help="Folder of GLUE's TSV files, or of its folders; of images, of tensorflow_datasets' "
        "prepared data sets.",
        aliases=("data",),
    )
    model: str | None = changed(
        TextClassifierConfig,
        "model",
        help="Encoder of texts, or of images, ViT: a preset of KerasHub, or a folder of one or in "
        "Hugging Face's format; or the run of a residual network.",
    )
    prune_n_layers: int | None = option(
        f"How many layers are removed ({_MOST}, or all but one of fewer).",
        default=None,
        range=">= 1",
    )
    prune_method: str = option(
        "How they are chosen: by fine-tuned scores, greedily or of all sets of up to two; the "
        "uppermost; random ones; or by one pass through the pretrained encoder.",
        default="greedy",
        choices=METHODS.names,
        former={"perfect": "exhaustive", "optimal": "exhaustive"},
    )
    ties: str = option(
        "Of equal scores, to three decimals, the last candidate wins, or the first.",
        default="published",
        choices=TIES,
    )
    seeds: int = option("Fine-tunings of each candidate, from --seed on.", default=3, range=">= 1")
    budget: float | None = option(
        "Part of the steps after which the worse half of the candidates is dropped; none: never.",
        default=None,
        range="in (0, 1)",
    )
    layers_file: str | None = option(
        "Text file with the layers to be removed, published or from an earlier pruning: nothing "
        "is chosen then.",
        default=None,
    )
    sizes: tuple[int, ...] = option(
        "Numbers of removed layers that are trained on all examples in the end; none: 0 and "
        "--prune_n_layers.",
        default=(),
        range=">= 0",
        distinct=True,
        may_change=True,
    )
    baselines: tuple[str, ...] = option(
        "What the chosen layers are compared with at each size.",
        default=BASELINES,
        choices=BASELINES,
        distinct=True,
        may_change=True,
    )
    distributed: bool = changed(SearchConfig, "distributed")
    worker_timeout: float = changed(SearchConfig, "worker_timeout")
    validation_fraction: float = changed(
        TextClassifierConfig,
        "validation_fraction",
        default=None,
        help="Part of the training set that is held out (0.15; of the data of a run, as there).",
        range="in (0, 1)",
    )
    epochs: int = changed(TextClassifierConfig, "epochs", may_change=False)
    # Which layers go is what is looked for; and each fine-tuning has all its epochs.
    removed_layers: tuple[int, ...] = dataclasses.field(default=(), init=False)
    patience: int = dataclasses.field(default=0, init=False)
    save_ckpts: bool = dataclasses.field(default=False, init=False)
    # The trainings in the end are there to be scored on the test part.
    test: bool = dataclasses.field(default=True, init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.is_on_texts and self.validation_fraction is None:
            default = fields(TextClassifierConfig)["validation_fraction"].default
            object.__setattr__(self, "validation_fraction", default)
        chosen = fields(self)["prune_method"].default
        self.expect(
            "layers_file",
            self.layers_file is None or self.prune_method == chosen,
            "only without --prune_method",
        )
        self.expect(
            "warmup_epochs",
            self.budget is None or self.warm_up < self.budget * self.epochs,
            "below the epochs of --budget",
        )

    def check_dataset(self) -> None:
        if self.is_on_texts:
            return
        for name in _OF_TEXTS:
            default = fields(self)[name].default
            self.expect(name, getattr(self, name) == default, "with a task on texts only")

    def check_images(self) -> None:
        """Checks that there are such images, for which TensorFlow is loaded.

        Raises:
            UsageError: there is neither a task on texts nor a data set of images of this name.
        """
        if self.is_on_texts:
            return
        try:
            datasets.preprocessing(self.dataset, "none")
        except UsageError:
            known = ", ".join(datasets.names())
            self.expect(
                "dataset", False, f"to be {tasks_on_texts()}; or images: {known} or images:FOLDER"
            )

    @property
    def is_on_texts(self) -> bool:
        """Whether the task is one on texts, and not on images."""
        return datasets.is_text_table(str(self.dataset))

    @property
    def chosen_by(self) -> str:
        """How layers are chosen: the method's name, or "file"."""
        return self.prune_method if self.layers_file is None else "file"

    @property
    def run_name(self) -> str:
        return f"{super().run_name}-{self.chosen_by}"

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """Of the fine-tunings of each candidate."""
        return tuple(range(self.seed, self.seed + self.seeds))

    def count(self, num_layers: int) -> int:
        """n, how many layers of an encoder are removed.

        Raises:
            UsageError: there are fewer.
        """
        if self.prune_n_layers is None:
            most = 2 if self.prune_method == "exhaustive" else _MOST
            count = min(most, num_layers - 1)
        else:
            count = self.prune_n_layers
        if not 1 <= count < num_layers:
            raise UsageError(
                f"Expected --prune_n_layers from 1 to {num_layers - 1}, as {self.model} has "
                f"{num_layers} layers. Received: {self.prune_n_layers or num_layers}"
            )
        return count

    def final_sizes(self, count: int) -> tuple[int, ...]:
        """The numbers of removed layers that are trained on all examples, ascending, 0 first.

        Args:
            count: how many layers are chosen.

        Raises:
            UsageError: one is above that.
        """
        sizes = sorted({0, *(self.sizes or (count,))})
        self.expect("sizes", sizes[-1] <= count, f"of at most --prune_n_layers={count}")
        return tuple(sizes)

    def method(self, num_layers: int) -> Method:
        """The way to choose layers that is asked for."""
        return METHODS.get(self.prune_method)(
            num_layers,
            self.count(num_layers),
            seeds=self.all_seeds,
            ties=self.ties,
            budget=self.budget,
        )

    def fine_tuning(
        self,
        removed: Layers,
        *,
        log_dir: str | os.PathLike = "",
        seed: int | None = None,
        part: float = 1.0,
        steps: int | None = None,
        all_examples: bool = False,
    ) -> FineTuningConfig:
        """The fine-tuning of a network without some layers.

        Args:
            removed: the layers; that of images has them from elsewhere, see `Subject.task`.
            log_dir: of its run, if it has one.
            seed: Default: the first one.
            part: of all its steps, in (0, 1].
            steps: of an epoch, which has to be known for a part.
            all_examples: whether it learns from what is held out otherwise, too.
        """
        own: dict[str, Any] = {
            "log_dir": os.fspath(log_dir),
            "seed": self.seed if seed is None else seed,
            "resume": True,
        }
        if all_examples:
            own["validation_fraction"] = 0.0
        if part < 1 and steps is not None:
            total = math.ceil(part * self.epochs * steps)
            own["epochs"] = -(-total // steps)
            own["steps_per_epoch"] = -(-total // own["epochs"])
        cls = PretrainedNetworkConfig
        if self.is_on_texts:
            cls = TextClassifierConfig
            own["removed_layers"] = removed
        names = fields(cls).keys() & fields(self).keys() - own.keys()
        return cls(**{name: getattr(self, name) for name in names}, **own)


class PruningFolder(TrialsFolder):
    """The files of one pruning.

        flags.txt       repeats it: --flagfile=PRUNING/flags.txt
        trials/         pruning.json, the configuration; state.json; a folder for each trial
        layer_files/    the choice and its scores, as the published program writes them
        history.csv     one row per trial
        pruned/         the smaller pretrained encoder, a preset of KerasHub, with layers.json; of
                        a residual network a run
        best/           run directory of the smallest network's training on all examples
        fine_tuned/     its encoder, the same
        figures/        PNG files
        serving/1/      SavedModel
        report.md       what it costs and what it brings

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        super().__init__(path, files.PRUNING)
        self.trials = self.path / "trials"
        self.layer_files = self.path / "layer_files"
        self.pruned = self.path / "pruned"
        self.fine_tuned = self.path / "fine_tuned"


def described(layers: Sequence[int]) -> str:
    """A set of layers for people.

    >>> described((3, 5)), described(())
    ('3, 5', 'none')
    """
    return ", ".join(map(str, layers)) or "none"
