"""How block networks are trained."""

import pathlib

import keras
import numpy as np

from tfcaps import datasets, plots
from tfcaps.models.block_network import BlockNetwork, count_flops
from tfcaps.optimizers import Lookahead, RectifiedAdam
from tfcaps.training import probe as probes
from tfcaps.training.recipe import Recipe


class BlockRecipe(Recipe):
    """Cross-entropy with rectified Adam inside Lookahead: see `BlockNetworkConfig` and `Recipe`.

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def preprocessing(self):
        kind = {"paper": "blocks", "none": "none"}[self.config.augmentation]
        return datasets.preprocessing(self.config.dataset, kind)

    def build(self, image_shape, num_classes):
        config = self.config
        return BlockNetwork(
            image_shape,
            num_classes,
            kind=config.model,
            blocks=config.blocks,
            widths=config.widths,
            stem=config.stem,
        )

    def compile(self, model, *, jit, optimizer=None):
        model.compile(
            optimizer=optimizer or Lookahead(RectifiedAdam(self.config.learning_rate)),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
            jit_compile=jit,
            run_eagerly=not self.config.enable_tf_function,
        )

    def as_inputs_and_targets(self, batches, model, num_classes, *, training):
        del model, num_classes, training  # the same for all of them
        return batches.map(lambda batch: (batch["image"], batch["label"])).prefetch(2)

    def look(self, model, probe, class_names):
        figure = _confusion(model, probe["image"], probe["label"], class_names)
        return {"confusion_matrix": figure}, {}

    def write_figures(self, directory, *, model, history, images, originals, labels, class_names):
        del originals
        figures = {
            "learning_curves": plots.learning_curves(history),
            "confusion_matrix": _confusion(model, images, labels, class_names),
        }
        return [
            plots.save(figure, pathlib.Path(directory) / f"{name}.png")
            for name, figure in figures.items()
        ]

    def results(self, model, batches):
        del batches
        return {"flops": count_flops(model)}


def _confusion(model, images, labels, class_names):
    predictions = probes.in_batches(model.classifier, np.asarray(images)).argmax(axis=-1)
    return plots.confusion_matrix(
        plots.confusion_counts(labels, predictions, len(class_names)), class_names
    )
