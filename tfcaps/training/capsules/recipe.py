"""How capsule networks are trained."""

from tfcaps import datasets
from tfcaps.training.capsules import figures
from tfcaps.training.capsules.batches import as_inputs_and_targets
from tfcaps.training.capsules.network import build_model, compile_model
from tfcaps.training.recipe import Recipe


class CapsuleRecipe(Recipe):
    """Margin loss and reconstruction, with Adam: see `CapsuleNetworkConfig` and `Recipe`."""

    def preprocessing(self):
        return datasets.preprocessing(self.config.dataset, self.config.augmentation)

    def build(self, image_shape, num_classes):
        return build_model(self.config, image_shape, num_classes)

    def compile(self, model, *, jit, optimizer=None):
        compile_model(model, self.config, jit=jit, optimizer=optimizer)

    def as_inputs_and_targets(self, batches, model, num_classes, *, training):
        return as_inputs_and_targets(batches, model, num_classes, training=training)

    def look(self, model, probe, class_names):
        return figures.look(model, probe, class_names)

    def write_figures(self, directory, **shown):
        return figures.write_figures(directory, **shown)
