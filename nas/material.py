"""What all attempts of a search have in common."""

import dataclasses

from nas.configuration import SearchConfig
from tfcaps import datasets
from tfcaps.datasets import ImageDataset, Preprocessing, Split
from tfcaps.training.blocks import BlockRecipe
from tfcaps.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Material:
    """Data, and how networks learn from it.

    Args:
        data: training and validation examples; test examples are not touched.
        preprocessing: of the images.
        probe: training examples on which bundle entropy is measured.
        recipe: how networks are compiled and fed.
        steps_per_epoch: between two checks; None: all training examples.
        epochs: of an attempt, with a check after each.
        seed: of weights, order and augmentation.
    """

    data: ImageDataset
    preprocessing: Preprocessing
    probe: Split
    recipe: Recipe
    steps_per_epoch: int | None
    epochs: int
    seed: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of the networks' input."""
        return self.preprocessing.output_shape(self.data.image_shape)

    @property
    def num_classes(self) -> int:
        """K, of the data."""
        return len(self.data.class_names)


def load_material(config: SearchConfig) -> Material:
    """The material of a search; it is the same wherever it is loaded."""
    data = datasets.load(
        config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        train_examples=config.train_examples or None,
        validation_fraction=config.validation_fraction,
        seed=config.seed,
    )
    recipe = BlockRecipe(config)
    return Material(
        data=data,
        preprocessing=recipe.preprocessing(),
        probe=datasets.probe_set(data.train, config.conflicting_samples_size, seed=config.seed),
        recipe=recipe,
        steps_per_epoch=config.steps_per_epoch or None,
        epochs=config.check_epochs,
        seed=config.seed,
    )
