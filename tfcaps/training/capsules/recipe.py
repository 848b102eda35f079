"""How capsule networks are trained."""

import itertools

from tfcaps import datasets
from tfcaps.errors import UsageError
from tfcaps.metrics import capsule_scores
from tfcaps.training.capsules import figures
from tfcaps.training.capsules.batches import as_inputs_and_targets
from tfcaps.training.capsules.capsule_score_recorder import CapsuleScoreRecorder
from tfcaps.training.capsules.network import build_model, compile_model
from tfcaps.training.recipe import Recipe


class CapsuleRecipe(Recipe):
    """Margin loss and reconstruction, with Adam: see `CapsuleNetworkConfig` and `Recipe`."""

    def preprocessing(self):
        found = datasets.preprocessing(self.config.dataset, self.config.augmentation)
        if self.config.robust and found.standardize:
            raise UsageError(
                "Expected --augmentation=none with --robust, which changes pixels in [0, 1]; "
                f"{self.config.dataset} is standardised otherwise. "
                f"Received: --augmentation={self.config.augmentation}"
            )
        return found

    def build(self, image_shape, num_classes):
        return build_model(self.config, image_shape, num_classes)

    def compile(self, model, *, jit, optimizer=None):
        compile_model(model, self.config, jit=jit, optimizer=optimizer)

    def as_inputs_and_targets(self, batches, model, num_classes, *, training):
        return as_inputs_and_targets(batches, model, num_classes, training=training)

    def callbacks(self, images):
        return [CapsuleScoreRecorder(images, batch_size=self.config.batch_size)]

    def results(self, model, batches):
        batches = iter(batches)
        first = next(batches, None)
        if first is None:
            return {}
        return capsule_scores(model, itertools.chain([first], batches)).to_dict()

    def look(self, model, probe, class_names):
        return figures.look(model, probe, class_names)

    def write_figures(self, directory, **shown):
        return figures.write_figures(directory, **shown)
