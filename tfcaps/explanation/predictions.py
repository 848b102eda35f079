"""Explains one prediction: numbers and pictures."""

import itertools
import os
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcaps import files, pictures, plots, training
from tfcaps.datasets.resizing import resize_uint8
from tfcaps.errors import UsageError
from tfcaps.explanation import capsule_run
from tfcaps.explanation.options import ExplanationOptions
from tfcaps.explanation.routing_trees import RoutingTree, routing_tree
from tfcaps.plots.trees import Edge, Node, routing_tree as tree_figure
from tfcaps.training.capsule_figures import capsule_dimensions

# There may be no branch, where all capsules are 0.
_BRANCH_COLUMNS = ("lower", "lower_node", "upper", "upper_node", "relevance", "is_skip")


def explain(log_dir: str | os.PathLike, **choices: Any) -> dict[str, Any]:
    """Explains what a finished run's network makes of one image.

    `LOG_DIR/explanation/NAME/` gets `routing_tree.png`; `dimensions.png`, what each dimension of
    the class capsule does, if there is a decoder; `places.csv` and `branches.csv`, the relevance of
    places and between capsules; and `explanation.json`. Where NAME holds what another call asked
    for, the folder is NAME-2, and so on.

    Args:
        log_dir: run directory of a capsule network.
        **choices: see `ExplanationOptions`.

    Returns:
        The content of explanation.json, and `folder`.

    Raises:
        UsageError: an argument is out of its range, or the image can't be read or has another size.

    Sources: see `routing_tree`.
    """
    options = ExplanationOptions(log_dir=os.fspath(log_dir), **choices)
    run = capsule_run.load_capsule_run(log_dir)
    chosen = None if options.capsule is None else _class_index(run, options.capsule)
    name, pixels, label = _image(run, options)
    network_input, original = (
        array[0].numpy() for array in run.preprocessing.evaluate(pixels[np.newaxis])
    )
    tree = routing_tree(run.model, network_input, chosen)
    asked = _asked(options, run.epoch)
    folder = _folder(pathlib.Path(log_dir) / "explanation", name, asked)
    with files.WorkFolder(folder, files.EXPLANATION).locked():
        files.remove_unfinished(folder)
        title = _title(run, tree, label)
        plots.save(
            _draw_tree(run, tree, original, options.most_relevant, title),
            folder / "routing_tree.png",
        )
        if run.model.decoder is not None:
            plots.save(_draw_dimensions(run, tree), folder / "dimensions.png")
        files.write_csv(folder / "places.csv", _place_rows(tree))
        files.write_csv(folder / "branches.csv", _branch_rows(tree), _BRANCH_COLUMNS)
        content = {"asked": asked, **_content(run, tree, label)}
        files.write_json(folder / "explanation.json", content)
    return {**content, "folder": str(folder)}


def _asked(options: ExplanationOptions, epoch: int) -> dict[str, Any]:
    """What an explanation is of, as JSON has it."""
    image = options.image and os.path.abspath(options.image)
    names = ("test_image", "resize", "capsule", "most_relevant")
    return {"image": image, **{name: getattr(options, name) for name in names}, "epoch": epoch}


def _folder(parent: pathlib.Path, name: str, asked: dict[str, Any]) -> pathlib.Path:
    """The folder of this explanation: nobody else's, and the same each time."""

    def is_others(folder: pathlib.Path) -> bool:
        content = files.read_json(folder / "explanation.json")
        return folder.exists() and not (isinstance(content, dict) and content.get("asked") == asked)

    names = (f"{name}-{number}" for number in itertools.count(2))
    return next(
        folder
        for folder in (parent / each for each in itertools.chain((name,), names))
        if not is_others(folder)
    )


def read_image(path: str | os.PathLike, run: training.Run, *, resize: bool = False) -> np.ndarray:
    """Reads an image file as the run's data set has its images.

    Colours become grey, or grey three equal channels, where the network wants that; transparency
    is dropped, and an animation gives its first picture.

    Args:
        path: PNG, JPEG, BMP or GIF.
        run: says what the network takes.
        resize: whether an image of another size is stretched. Default False.

    Returns:
        uint8, (H, W, C).

    Raises:
        UsageError: there is no such file, it can't be read, or has another size.
    """
    height, width, channels = run.image_shape
    if channels not in (1, 3):
        raise UsageError(f"Expected a run on images of 1 or 3 channels. Received: {channels}")
    try:
        image = pictures.with_channels(pictures.decode(tf.io.read_file(str(path))), channels)
    except tf.errors.PermissionDeniedError:
        raise UsageError(f"Cannot read {path}: Permission denied") from None
    except tf.errors.OpError as error:
        allowed = pictures.expected(error)
        raise UsageError(f"Expected --image to be {allowed}. Received: {path}") from None
    if tuple(image.shape[:2]) != (height, width):
        if not resize:
            raise UsageError(
                f"Expected an image of {height}×{width} pixels, as in the training, or --resize to "
                f"stretch it. Received: {path}, of {image.shape[0]}×{image.shape[1]}"
            )
        image = resize_uint8(image, (height, width))
    return image.numpy()


def _class_index(run: training.Run, name: str) -> int:
    if name not in run.class_names:
        raise UsageError(
            f"Expected --capsule to be one of {', '.join(run.class_names)}. Received: {name}"
        )
    return run.class_names.index(name)


def _image(run: training.Run, options: ExplanationOptions) -> tuple[str, np.ndarray, int | None]:
    """A name for the image, its pixels, and its class where it is known."""
    if options.image is not None:
        pixels = read_image(options.image, run, resize=options.resize)
        return pathlib.Path(options.image).stem, pixels, None
    test = run.load_data(data_dir=options.data_dir).test
    index = options.test_image or 0  # is given where no file is
    if not 0 <= index < len(test):
        raise UsageError(
            f"Expected --test_image between 0 and {len(test) - 1}, as the test set has "
            f"{len(test)} images. Received: {index}"
        )
    return f"test-{index}", test.images[index], int(test.labels[index])


def _title(run: training.Run, tree: RoutingTree, label: int | None) -> str:
    predicted = int(tree.scores.argmax())
    title = f'Predicted: "{run.class_names[predicted]}" (length {tree.scores[predicted]:.2f})'
    if label is not None:
        title += f', truth: "{run.class_names[label]}"'
    return title


def _draw_tree(run, tree: RoutingTree, original: np.ndarray, most_relevant: int, title: str):
    nodes, edges = _strongest(run, tree, original, most_relevant)
    return tree_figure(
        original,
        tree.heat,
        tree.scores.tolist(),
        capsule=tree.capsule,
        class_names=run.class_names,
        layers=[level.name for level in tree.levels],
        nodes=nodes,
        edges=edges,
        title=title,
    )


class _Place(NamedTuple):
    """Which node of the tree is drawn where."""

    level: str
    node: int


def _strongest(
    run: training.Run, tree: RoutingTree, original: np.ndarray, count: int
) -> tuple[list[Node], list[Edge]]:
    """The most relevant nodes of each level, and the edges between them."""
    nodes, index = [], {}
    for column, level in enumerate(tree.levels):
        order = np.argsort(-level.relevance, kind="stable")[:count]
        for node in order[level.relevance[order] > 0]:
            index[_Place(level.name, int(node))] = len(nodes)
            nodes.append(
                Node(
                    column,
                    _node_name(run, tree, column, int(node)),
                    float(level.relevance[node]),
                    None if column else _pixels(tree, int(node), original),
                )
            )
    edges = [
        Edge(
            index[_Place(branch.lower, int(lower))],
            index[_Place(branch.upper, int(upper))],
            float(branch.flow[upper, lower]),
            branch.is_skip,
        )
        for branch in tree.branches
        for upper, lower in np.argwhere(branch.flow > 0)
        if _Place(branch.lower, int(lower)) in index and _Place(branch.upper, int(upper)) in index
    ]
    return nodes, edges


def _pixels(tree: RoutingTree, node: int, original: np.ndarray) -> np.ndarray | None:
    """What a place of the lowest layer sees; of a capsule without places that says nothing."""
    return original[tree.field.box(*_row_and_column(tree, node))] if tree.has_places else None


def _row_and_column(tree: RoutingTree, node: int) -> tuple[int, int]:
    row, column = np.unravel_index(node, tree.places.shape)
    return int(row), int(column)


def _node_name(run: training.Run, tree: RoutingTree, column: int, node: int) -> str:
    if column == 0 and tree.has_places:
        return ", ".join(map(str, _row_and_column(tree, node)))
    return run.class_names[node] if column == len(tree.levels) - 1 else str(node)


def _draw_dimensions(run: training.Run, tree: RoutingTree):
    """What changing each dimension of the class capsule reconstructs."""
    capsules = tree.class_capsules
    if run.model.mask == "label":  # the decoder sees nothing else than this capsule
        capsules = np.where(np.arange(len(capsules))[:, np.newaxis] == tree.capsule, capsules, 0.0)
    return capsule_dimensions(run.model.decoder, capsules, tree.capsule, run.class_names)


def _place_rows(tree: RoutingTree) -> Iterator[dict[str, Any]]:
    for (row, column), value in np.ndenumerate(tree.places):
        yield {"row": row, "column": column, "relevance": f"{value:.6g}"}


def _branch_rows(tree: RoutingTree) -> Iterator[dict[str, Any]]:
    for branch in tree.branches:
        for upper, lower in np.argwhere(branch.flow > 0):
            yield {
                "lower": branch.lower,
                "lower_node": int(lower),
                "upper": branch.upper,
                "upper_node": int(upper),
                "relevance": f"{branch.flow[upper, lower]:.6g}",
                "is_skip": branch.is_skip,
            }


def _content(run: training.Run, tree: RoutingTree, label: int | None) -> dict[str, Any]:
    names = run.class_names
    return {
        "epoch": run.epoch,
        "predicted": names[int(tree.scores.argmax())],
        "truth": None if label is None else names[label],
        "capsule": names[tree.capsule],
        "lengths": dict(zip(names, tree.scores.tolist(), strict=True)),
        "has_decoder": run.model.decoder is not None,
        "receptive_field": {
            name: list(value) for name, value in tree.field._asdict().items() if name != "image"
        },
        "relevance": {level.name: level.relevance.tolist() for level in tree.levels},
    }
