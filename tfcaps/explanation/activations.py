"""Images that a capsule answers to."""

import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcaps import files, plots, training
from tfcaps.errors import UsageError
from tfcaps.explanation import capsule_run
from tfcaps.explanation.options import ActivationOptions
from tfcaps.ops import safe_norm

DARKNESS_WEIGHT = 1e-5  # of the sum of pixels
LOWEST_START, HIGHEST_START = 0.1, 0.9
# What the results depend on; not so the number of images at a time.
_DECIDING = ("starts", "best", "steps", "step_size", "seed")
_SHOWN_STEPS = 50  # the progress display moves after so many


class Found(NamedTuple):
    """What the searches for some capsules K of a layer ended with.

    Args:
        images: mean of each capsule's best images (K, h, w, C).
        lengths: of the capsule on each of these best images, the best first (K, best).
        objectives: their objectives, in the same order.
        mean_lengths: of the capsule on the mean image (K,).
    """

    images: np.ndarray
    lengths: np.ndarray
    objectives: np.ndarray
    mean_lengths: np.ndarray


def activation_images(log_dir: str | os.PathLike, **choices: Any) -> dict[str, Found]:
    """Searches the images that capsules of a finished run answer to.

    From x ~ U(0.1, 0.9), each step is `x ← clip(x − step_size · sign ∇L, 0, 1)` with
    `L = (1 − ‖v_k‖)² + 1e-5 Σ x`; the best images are those with the least L. Pixels are those in
    [0, 1], before standardisation, of the part that the network sees. A capsule of a convolutional
    layer is one type at the map's centre.

    For each layer, `LOG_DIR/activation_images/` gets `LAYER.png`, `LAYER.csv` (a row for each best
    image, and one for their mean), `LAYER.npz` (the mean images) and, last, `LAYER.json` with the
    settings: a layer that is there with the same settings isn't searched again.

    Args:
        log_dir: run directory of a capsule network.
        **choices: see `ActivationOptions`.

    Returns:
        What was found, by layer.

    Raises:
        UsageError: the run, the layer or the capsule does not exist.

    Source: Peer, Stabinger, Rodríguez-Sánchez: γ-capsules, arXiv 1812.09707.
    """
    options = ActivationOptions(log_dir=os.fspath(log_dir), **choices)
    run = capsule_run.load_capsule_run(log_dir)
    layers = _chosen_layers(run.model, options.layer, options.capsule)
    searches = [_Search(run, name, options.capsule) for name in layers]
    folder = pathlib.Path(log_dir) / "activation_images"
    with files.WorkFolder(folder, files.EXPLANATION).locked():
        files.remove_unfinished(folder)
        return {search.layer: _search_or_read(folder, search, options) for search in searches}


def _chosen_layers(model: keras.Model, layer: str | None, capsule: int | None) -> Sequence[str]:
    if layer is not None:
        return [layer]
    if capsule is not None:
        raise UsageError(
            f"Expected --layer beside --capsule, one of "
            f"{', '.join(capsule_run.layer_names(model))}. Received: --capsule={capsule} alone"
        )
    return list(model.inspector.output["couplings"])


class _Search:
    """The searches for capsules of one layer, compiled once."""

    def __init__(self, run: training.Run, layer: str, capsule: int | None):
        self.run = run
        self.layer = layer
        self._network = capsule_run.up_to(run.model, layer)
        # (O, E) or, of maps, (H', W', O, E).
        *places, self._count, _ = self._network.output.shape[1:]
        self._centre = tuple(size // 2 for size in places)
        if capsule is not None and not 0 <= capsule < self._count:
            raise UsageError(
                f"Expected --capsule between 0 and {self._count - 1}, as {layer} has "
                f"{self._count} capsules. Received: {capsule}"
            )
        self.capsules = list(range(self._count)) if capsule is None else [capsule]
        self.stem = layer if capsule is None else f"{layer}-capsule-{capsule}"

    @property
    def names(self) -> list[str]:
        """What the capsules are called: classes by their names."""
        is_top = self.layer == capsule_run.layer_names(self.run.model)[-1]
        return [self.run.class_names[k] if is_top else str(k) for k in self.capsules]

    def run_all(self, settings: ActivationOptions) -> Found:
        """Searches, and keeps the best."""
        shape = self._network.input.shape[1:]
        # Each capsule's starts are the same, whichever others are searched for.
        x = np.concatenate(
            [
                np.random.default_rng([settings.seed, capsule]).uniform(
                    LOWEST_START, HIGHEST_START, (settings.starts, *shape)
                )
                for capsule in self.capsules
            ]
        ).astype("float32")
        index = np.repeat(self.capsules, settings.starts)
        self._descend_in_batches(x, index, settings)
        lengths, objectives = (
            values.reshape(-1, settings.starts) for values in self._evaluate(x, index, settings)
        )
        order = np.argsort(objectives, axis=-1, kind="stable")[:, : settings.best]
        x = x.reshape(-1, settings.starts, *shape)
        images = np.stack(
            [starts[best].mean(axis=0) for starts, best in zip(x, order, strict=True)]
        )
        return Found(
            images,
            np.take_along_axis(lengths, order, axis=-1),
            np.take_along_axis(objectives, order, axis=-1),
            self._evaluate(images, np.array(self.capsules), settings)[0],
        )

    def _descend_in_batches(
        self, x: np.ndarray, index: np.ndarray, settings: ActivationOptions
    ) -> None:
        sections = [
            min(_SHOWN_STEPS, settings.steps - done)
            for done in range(0, settings.steps, _SHOWN_STEPS)
        ]
        bar = keras.utils.Progbar(
            len(range(0, len(x), settings.batch_size)) * len(sections),
            verbose=1 if sys.stdout.isatty() else 2,
            unit_name="section",
        )
        for start in range(0, len(x), settings.batch_size):
            part = slice(start, start + settings.batch_size)
            images, chosen = tf.constant(x[part]), tf.constant(index[part])
            for steps in sections:
                images = self._descend(
                    images, chosen, tf.constant(steps), tf.constant(settings.step_size)
                )
                bar.add(1)
            x[part] = images.numpy()

    @tf.function(reduce_retracing=True)
    def _descend(self, images, index, steps, step_size):
        def step(done, images):
            # The network's weights need no gradients.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(images)
                objective = tf.reduce_sum(self._lengths_and_objectives(images, index)[1])
            change = step_size * tf.sign(tape.gradient(objective, images))
            return done + 1, tf.clip_by_value(images - change, 0.0, 1.0)

        return tf.while_loop(lambda done, _: done < steps, step, (tf.constant(0), images))[1]

    def _evaluate(
        self, x: np.ndarray, index: np.ndarray, settings: ActivationOptions
    ) -> list[np.ndarray]:
        """Lengths and objectives (N,)."""
        parts = [
            self._lengths_and_objectives(
                tf.constant(x[start : start + settings.batch_size]),
                tf.constant(index[start : start + settings.batch_size]),
            )
            for start in range(0, len(x), settings.batch_size)
        ]
        return [np.concatenate(values) for values in zip(*parts, strict=True)]

    def _lengths_and_objectives(self, images, index):
        capsules = self._network(self.run.preprocessing.standardized(images), training=False)
        for place in self._centre:
            capsules = capsules[:, place]
        lengths = safe_norm(tf.cast(capsules, tf.float32))
        chosen = tf.gather(lengths, index, axis=1, batch_dims=1)
        pixels = tf.reduce_sum(images, axis=[1, 2, 3])
        return chosen, tf.square(1.0 - chosen) + DARKNESS_WEIGHT * pixels


def _search_or_read(folder: pathlib.Path, search: _Search, settings: ActivationOptions) -> Found:
    """Searches for a layer's capsules, and writes its files, unless they are there."""
    described = {name: getattr(settings, name) for name in _DECIDING}
    described["epoch"] = search.run.epoch
    marker = folder / f"{search.stem}.json"
    stored = folder / f"{search.stem}.npz"
    if files.read_json(marker) == described and stored.exists():
        print(f"{search.stem} is there already.", flush=True)
        return Found(**files.read_arrays(stored, Found._fields))
    print(f"{search.stem}: {len(search.capsules)} capsules × {settings.starts} starts", flush=True)
    marker.unlink(missing_ok=True)
    found = search.run_all(settings)
    with files.replacing(stored) as temporary:
        np.savez(temporary, **found._asdict())
    files.write_csv(folder / f"{search.stem}.csv", _rows(search, found))
    figure = plots.activation_grid(
        found.images,
        [
            f"{name}: {lengths.mean():.2f}"
            for name, lengths in zip(search.names, found.lengths, strict=True)
        ],
        title=f"{search.stem}: mean of the best {settings.best} images, and their mean length",
    )
    plots.save(figure, folder / f"{search.stem}.png")
    files.write_json(marker, described)
    return found


def _rows(search: _Search, found: Found) -> Iterator[dict[str, Any]]:
    for place, (capsule, name) in enumerate(zip(search.capsules, search.names, strict=True)):
        columns = zip(found.lengths[place], found.objectives[place], strict=True)
        for rank, (length, objective) in enumerate(columns, start=1):
            yield {
                "capsule": capsule,
                "name": name,
                "image": rank,
                "length": f"{length:.6f}",
                "objective": f"{objective:.6f}",
            }
        yield {
            "capsule": capsule,
            "name": name,
            "image": "mean",
            "length": f"{found.mean_lengths[place]:.6f}",
            "objective": None,
        }
