"""What guided labeling is asked to do. Nothing here imports what it computes with."""

import dataclasses
import importlib.util
import os

from tfcaps.errors import UsageError
from tfcaps.experiments.experiment import Experiment
from tfcaps.labeling import networks, strategies
from tfcaps.options import Options, WorkOptions, changed, option
from tfcaps.training.configuration import RunConfig

# Beside the images, where no --log_dir is given; a hidden folder is no class.
_STORE = ".guided_labeling"
# Up to nine have the keys 1 to 9; more of them have two digits each.
_MOST_CLASSES = 99
_PACKAGES = {"sklearn": "scikit-learn", "threadpoolctl": "threadpoolctl",
             "starlette": "starlette", "uvicorn": "uvicorn", "PIL": "pillow"}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearnerOptions(Options):
    """What learns in each round, and for how long."""

    network: str = option(
        "What learns: svm: an RBF machine on features; convnet, resnet or capsnet: a network.",
        default=networks.SVM,
        choices=(networks.SVM, *networks.NAMES),
    )
    epochs: int = changed(
        RunConfig, "epochs", default=10, help="Of a round's network.", may_change=False
    )
    steps_per_epoch: int = changed(
        RunConfig, "steps_per_epoch", default=40, help="Of 32 images each.", range=">= 1"
    )
    warm_start: bool = option(
        "A round's network begins with the weights of the one before.", default=False
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelingOptions(LearnerOptions, WorkOptions):
    """All choices of guided labeling; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range, or classes are missing, twice or too many, or the
            results would be taken for images.

    Example:

    >>> LabelingOptions(log_dir="", images="pictures", classes=("cat", "cat"))
    Traceback (most recent call last):
    tfcaps.errors.UsageError: Expected --classes to be distinct names. Received: cat,cat
    """

    log_dir: str = changed(
        WorkOptions, "log_dir", help="Folder of labels and results (IMAGES/.guided_labeling)."
    )
    images: str = option("Folder of the images to be labelled, and of those below it.", default="")
    classes: tuple[str, ...] = option(
        "What an image may be: up to nine names have the keys 1 to 9, up to 99 two digits each.",
        default=(),
        distinct=True,
    )
    strategy: str = option(
        "Which images come first; guided: typiclust, then margin_clusters.",
        default=strategies.DEFAULT,
        choices=strategies.without_draws,
        may_change=True,
    )
    features: str | None = option(
        "Keras model (.keras) or run whose last features images are compared by; none: those of "
        "the network that was trained here, and before that pixels, by PCA.",
        default=None,
        may_change=True,
    )
    network: str = changed(LearnerOptions, "network", may_change=True)
    epochs: int = changed(LearnerOptions, "epochs", may_change=True)
    steps_per_epoch: int = changed(LearnerOptions, "steps_per_epoch", may_change=True)
    warm_start: bool = changed(LearnerOptions, "warm_start", may_change=True)
    port: int = option(
        "Of the page; 0: a free one.", default=0, range="in [0, 65535]", may_change=True
    )
    open_browser: bool = option("Open the page at once.", default=True, may_change=True)
    retrain_every: int = option(
        "Labels after which the model learns anew.", default=20, range=">= 1", may_change=True
    )
    budget: int = option(
        "Labels after which the page says that it is enough; 0: any number.",
        default=0,
        range=">= 0",
        may_change=True,
    )
    target_accuracy: float = option(
        "Accuracy whose lower bound, on images drawn at random, is enough.",
        default=0.95,
        range="in (0, 1]",
        may_change=True,
    )
    import_labels: str | None = option(
        "CSV of labels that exist, with the columns image and label.",
        default=None,
        may_change=True,
    )
    export: str | None = option(
        "Folder that labels are written to, labels.csv and class folders, instead of a page.",
        default=None,
        may_change=True,
    )

    train: bool = option(
        "Train a network on the labels, as the page's button does, instead of a page.",
        default=False,
        may_change=True,
    )
    final_network: str = option(
        "The network that is trained on the labels.",
        default=networks.NAMES[0],
        choices=networks.NAMES,
        may_change=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(not name.strip() or "/" in name or name.startswith(".") for name in self.classes):
            self.expect("classes", False, "to be names that can be folders")
        if self.images:
            self.expect(
                "classes",
                2 <= len(self.classes) <= _MOST_CLASSES,
                f"to be 2 to {_MOST_CLASSES} names, a key or two each",
            )
            # Another way to the same folder is the same folder.
            object.__setattr__(self, "images", os.path.realpath(os.path.expanduser(self.images)))
            for name in ("log_dir", "export"):
                folder = getattr(self, name)
                is_apart = not folder or not self._is_searched(folder)
                self.expect(name, is_apart, "outside --images, or in a hidden folder of it")

    @property
    def run_name(self) -> str:
        return "labeling"

    @property
    def new_folder(self) -> str:
        return os.path.join(self.images, _STORE) if self.images else super().new_folder

    @property
    def has_own_folder(self) -> bool:
        return bool(self.images)

    def _is_searched(self, folder: str) -> bool:
        """Whether pictures in a folder would be taken for images to be labelled."""
        inside = os.path.relpath(os.path.realpath(os.path.expanduser(folder)), self.images)
        parts = inside.split(os.sep)
        return parts[0] != os.pardir and not any(p.startswith(".") and p != "." for p in parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SimulationOptions(LearnerOptions, Experiment):
    """All choices of a simulated labeling; a field is the flag of the same name."""

    simulate: bool = option("Have labels of a data set given by a program.", default=False)
    dataset: str = changed(RunConfig, "dataset")
    data_dir: str | None = changed(RunConfig, "data_dir")
    strategies: tuple[str, ...] = option(
        "Which are compared; random is what the others are measured against.",
        default=("random", strategies.DEFAULT),
        choices=strategies.without_draws,
        distinct=True,
        least=1,
        may_change=True,
    )
    pool_size: int = option("Images that may be labelled, at most.", default=10_000, range=">= 1")
    test_size: int = option("Images that accuracy is measured on.", default=5_000, range=">= 1")
    budgets: tuple[int, ...] = option(
        "Labels after which a model learns and is measured.",
        default=(20, 40, 60, 100, 150, 200, 300, 400, 600, 800, 1000),
        range=">= 1",
        distinct=True,
        least=1,
    )
    runs: int = option("Seeds per strategy.", default=5, range=">= 1", may_change=True)
    label_noise: float = option(
        "Part of the labels that are another class', drawn evenly.", default=0.0, range="in [0, 1)"
    )
    seed: int = changed(RunConfig, "seed", help="Of the first run; of images, weights and noise.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.expect("budgets", list(self.budgets) == sorted(self.budgets), "to increase")
        self.expect("budgets", self.budgets[-1] <= self.pool_size, f"<= {self.pool_size}")

    @property
    def run_name(self) -> str:
        return f"labeling-{self.dataset}"

    @property
    def has_own_folder(self) -> bool:
        return not self.simulate  # another folder is asked for, which `LabelingOptions` knows


def expect_packages() -> None:
    """Checks that the packages of the extra are there.

    Raises:
        UsageError: one isn't.
    """
    for module, package in _PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            raise UsageError(
                f"Expected {package}, which `pip install 'tfcaps[labeling]'` installs. "
                "Received: a Python without it"
            )
