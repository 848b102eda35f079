"""The pictures of a capsule network: after each epoch, and of a finished run."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from matplotlib.figure import Figure

from tfcaps import plots
from tfcaps.training import probe

# What is added to one dimension of a capsule at a time, as in arXiv 1710.09829, section 5.1.
_TWEAKS = np.linspace(-0.25, 0.25, 11)


def look(
    model: keras.Model, examples: Mapping[str, np.ndarray], class_names: Sequence[str]
) -> tuple[dict[str, Figure], dict[str, np.ndarray]]:
    """Draws what the network makes of a few examples, as `Recipe.look` describes.

    `confusion_matrix` and, if the model has a decoder, `reconstructions`; the coupling
    coefficients of each capsule layer as histograms.
    """
    images, labels = examples["image"], examples["label"]
    predictions = probe.in_batches(model.classifier, images).argmax(axis=-1)
    counts = plots.confusion_counts(labels, predictions, len(class_names))
    figures = {"confusion_matrix": plots.confusion_matrix(counts, class_names)}

    shown = probe.spread_over_classes(labels, probe.INSPECTED_IMAGES)
    inspected = probe.in_batches(model.inspector, images[shown])
    if model.decoder is not None:
        capsules = probe.class_capsules(model, inspected)[: probe.SHOWN_PAIRS]
        pairs = shown[: probe.SHOWN_PAIRS]
        figures["reconstructions"] = plots.reconstructions(
            examples["original"][pairs],
            probe.in_batches(model.decoder, capsules),
            labels=labels[pairs],
            predictions=predictions[pairs],
            class_names=class_names,
        )
    couplings = inspected["couplings"]
    return figures, {f"couplings/{layer}": values for layer, values in couplings.items()}


def write_figures(
    directory: str | os.PathLike,
    *,
    model: keras.Model,
    history: Mapping[str, Sequence[float]],
    images: np.ndarray,
    originals: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
) -> list[pathlib.Path]:
    """Writes the figures of a run as PNG files, each of them whole or not at all.

    `learning_curves.png`, `confusion_matrix.png` (all images), `couplings.png` and, if the model
    has a decoder, `reconstructions.png` and `capsule_dimensions.png`.

    Args:
        directory: Where to; it is made if missing.
        model: A capsule network with `classifier`, `decoder` and `inspector`.
        history: Columns of the training's metrics by name, as `plots.learning_curves` takes them.
        images: Network inputs (N, h, w, C).
        originals: The same images in [0, 1], the targets of the reconstruction.
        labels: Their classes, integers (N,).
        class_names: Names of the K classes.

    Returns:
        The paths of the files.

    Raises:
        OSError: If a file can't be written.
    """
    images, originals, labels = np.asarray(images), np.asarray(originals), np.asarray(labels)
    lengths = probe.in_batches(model.classifier, images)
    predictions = lengths.argmax(axis=-1)
    counts = plots.confusion_counts(labels, predictions, len(class_names))
    shown = probe.spread_over_classes(labels, probe.INSPECTED_IMAGES)
    inspected = probe.in_batches(model.inspector, images[shown])
    figures = {
        "learning_curves": plots.learning_curves(history),
        "confusion_matrix": plots.confusion_matrix(counts, class_names),
        "couplings": plots.coupling_histogram(inspected["couplings"]),
    }
    if model.decoder is not None:
        capsules = probe.class_capsules(model, inspected)
        pairs = shown[: probe.SHOWN_PAIRS]
        figures["reconstructions"] = plots.reconstructions(
            originals[pairs],
            probe.in_batches(model.decoder, capsules[: len(pairs)]),
            labels=labels[pairs],
            predictions=predictions[pairs],
            class_names=class_names,
        )
        # An example that the network gets right says more about its capsules.
        example = np.argmax(predictions[shown] == labels[shown])
        figures["capsule_dimensions"] = capsule_dimensions(
            model.decoder, capsules[example], predictions[shown][example], class_names
        )
    return [
        plots.save(figure, pathlib.Path(directory) / f"{name}.png")
        for name, figure in figures.items()
    ]


def capsule_dimensions(
    decoder: keras.Model, capsules: np.ndarray, winner: int, class_names: Sequence[str]
) -> Figure:
    """Draws what changing each dimension of the winning one of capsules (K, E) reconstructs."""
    dimensions = capsules.shape[-1]
    # (dimension, value, K, E): the capsules, with one number added to one of their elements.
    changed = np.broadcast_to(capsules, (dimensions, len(_TWEAKS), *capsules.shape)).copy()
    changed[:, :, winner, :] += np.eye(dimensions)[:, np.newaxis] * _TWEAKS[:, np.newaxis]
    decoded = probe.in_batches(decoder, changed.reshape(-1, *capsules.shape))
    return plots.dimension_sweep(
        decoded.reshape(*changed.shape[:2], *decoded.shape[1:]),
        _TWEAKS,
        title=f'Reconstructions from a changed capsule of class "{class_names[winner]}"',
    )
