"""How a capsule network came to one decision."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import FancyArrowPatch

from tfcaps.plots import canvas

_WIDEST_LINE = 6.0  # points, of the edge with the largest flow
_PICTURE_INCHES = 0.55
_LONGEST_NAME = 14
_THINNEST_LINE = 0.5


class Node(NamedTuple):
    """A node of a drawn tree.

    Args:
        layer: index of its column.
        label: what it is called.
        relevance: 0 to 1.
        picture: (h, w, C) in [0, 1], for a place of the image; else None.
    """

    layer: int
    label: str
    relevance: float
    picture: np.ndarray | None = None


class Edge(NamedTuple):
    """An edge of a drawn tree: `lower` and `upper` are indices of nodes, `flow` is 0 to 1."""

    lower: int
    upper: int
    flow: float
    is_skip: bool = False


def routing_tree(
    image: np.ndarray,
    heat: np.ndarray,
    scores: Sequence[float],
    *,
    capsule: int,
    class_names: Sequence[str],
    layers: Sequence[str],
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    title: str | None = None,
) -> Figure:
    """Draws an image, where the votes for its class came from, and the tree of capsules between.

    Args:
        image: (H, W, C) in [0, 1].
        heat: relevance of each pixel (H, W); NaN where there is none.
        scores: lengths of the K class capsules.
        capsule: the class whose votes are shown.
        class_names: of the K classes.
        layers: names of the tree's columns, from the lowest.
        nodes: the tree's nodes, the most relevant of each layer.
        edges: its edges.
        title: Text over the figure, optional.

    Returns:
        The figure.

    Raises:
        ValueError: If the image isn't of that rank, heat has another size, or the numbers of scores
            and class names differ.

    Example:
        >>> import numpy as np
        >>> from tfcaps.plots.trees import Edge, Node, routing_tree
        >>> nodes = [Node(0, "0, 0", 1.0), Node(1, "yes", 1.0)]
        >>> figure = routing_tree(
        ...     np.zeros((8, 8, 1)), np.ones((8, 8)), [0.9, 0.1], capsule=0,
        ...     class_names=["yes", "no"], layers=["primary", "classes"],
        ...     nodes=nodes, edges=[Edge(0, 1, 1.0)],
        ... )
        >>> [axes.get_title(loc="left") for axes in figure.axes][:3]
        ['Image', 'Votes for "yes"', 'Lengths']
    """
    image = canvas.check_images("image", image, rank=3)
    if np.shape(heat) != image.shape[:2]:
        raise ValueError(f"Expected heat {image.shape[:2]}. Received: {np.shape(heat)}")
    if len(scores) != len(class_names):
        raise ValueError(f"Expected {len(class_names)} scores. Received: {len(scores)}")
    tallest = max(sum(node.layer == layer for node in nodes) for layer in range(len(layers)))
    tree_height = 0.9 + 0.72 * tallest
    figure = canvas.new_figure(max(9.0, 1.6 * len(layers) + 1.0), 3.3 + tree_height)
    grid = figure.add_gridspec(2, 3, height_ratios=(3.0, tree_height), width_ratios=(1, 1.2, 1.2))
    picture, votes, bars = (figure.add_subplot(grid[0, column]) for column in range(3))
    _draw_picture(picture, image, "Image")
    _draw_heat(votes, image, np.asarray(heat), f'Votes for "{_short(class_names[capsule])}"')
    _draw_scores(bars, scores, capsule, class_names)
    tree = figure.add_subplot(grid[1, :])
    _draw_tree(tree, layers, nodes, edges)
    if title:
        figure.suptitle(title, fontsize=canvas.TITLE_SIZE + 1, parse_math=False)
    return figure


def _draw_picture(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(canvas.as_rgb(image), vmin=0.0, vmax=1.0)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#bbbbbb")
    axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", parse_math=False)
    axes.set_anchor("NW")


def _draw_heat(axes: Axes, image: np.ndarray, heat: np.ndarray, title: str) -> None:
    _draw_picture(axes, np.zeros_like(image), title)
    # The image is drawn over the heat as its outlines, so that all of the colours stay readable.
    colours = axes.imshow(np.ma.masked_invalid(heat), cmap="magma")
    grey = canvas.as_rgb(image).mean(axis=-1)
    if np.ptp(grey) > 0:
        axes.contour(grey, levels=[grey.min() + 0.5 * np.ptp(grey)], colors="white", linewidths=0.9)
    bar = axes.figure.colorbar(colours, ax=axes, shrink=0.85, format="%.2g")
    bar.set_label("relevance", fontsize=canvas.TICK_SIZE)
    bar.ax.tick_params(labelsize=canvas.TICK_SIZE - 1)


def _draw_scores(
    axes: Axes, scores: Sequence[float], capsule: int, class_names: Sequence[str]
) -> None:
    # More than so many bars can't be read: the longest are shown.
    shown = np.sort(np.argsort(-np.asarray(scores), kind="stable")[:15])
    colors = [canvas.VERMILLION if index == capsule else canvas.BLUE for index in shown]
    places = np.arange(len(shown))
    axes.barh(places, [scores[index] for index in shown], color=colors)
    axes.set_yticks(places, [_short(class_names[index]) for index in shown], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0.0, max(1.0, max(scores)))
    axes.tick_params(labelsize=canvas.TICK_SIZE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("Lengths", fontsize=canvas.TITLE_SIZE, loc="left")


def _draw_tree(
    axes: Axes, layers: Sequence[str], nodes: Sequence[Node], edges: Sequence[Edge]
) -> None:
    heights = _heights(nodes, len(layers))
    largest = max((edge.flow for edge in edges), default=1.0)
    for edge in edges:
        ends = [(nodes[index].layer, heights[index]) for index in (edge.lower, edge.upper)]
        line = FancyArrowPatch(
            *ends,
            arrowstyle="-",
            # A straight one would run through the layer between.
            connectionstyle=f"arc3,rad={-0.2 if edge.is_skip else 0.0}",
            color=canvas.VERMILLION if edge.is_skip else canvas.BLUE,
            linestyle=(0, (3, 1.5)) if edge.is_skip else "-",
            linewidth=max(_THINNEST_LINE, _WIDEST_LINE * edge.flow / largest),
            alpha=0.55,
            shrinkA=0,
            shrinkB=0,
            zorder=1,
        )
        axes.add_patch(line)
    for node, height in zip(nodes, heights, strict=True):
        _draw_node(axes, node, height)
    axes.set_xticks(range(len(layers)), layers, parse_math=False)
    axes.tick_params(labelsize=canvas.TICK_SIZE, length=0)
    axes.set_yticks([])
    axes.set_xlim(-0.55, len(layers) - 0.65)
    axes.set_ylim(-0.08, 1.08)
    axes.spines[:].set_visible(False)
    explained = "Most relevant capsules; a line is as wide as its flow is large"
    if any(edge.is_skip for edge in edges):
        explained += " (dashed: residual connection)"
    axes.set_title(explained, fontsize=canvas.TITLE_SIZE, loc="left")


def _heights(nodes: Sequence[Node], layers: int) -> np.ndarray:
    """Vertical places in [0, 1]: the nodes of a layer at equal distances, the first one on top."""
    heights = np.zeros(len(nodes))
    for layer in range(layers):
        members = [index for index, node in enumerate(nodes) if node.layer == layer]
        heights[members] = 1.0 - (np.arange(len(members)) + 0.5) / max(len(members), 1)
    return heights


def _draw_node(axes: Axes, node: Node, height: float) -> None:
    if node.picture is None:
        area = 60 + 340 * node.relevance  # in points², as a marker's is
        axes.scatter([node.layer], [height], s=area, color=canvas.BLUE, zorder=2)
        place = {"xytext": (0, -5 - 0.5 * np.sqrt(area)), "ha": "center", "va": "top"}
    else:
        _draw_patch(axes, node.picture, (node.layer, height))
        place = {"xytext": (-5 - 36 * _PICTURE_INCHES, 0), "ha": "right", "va": "center"}
    axes.annotate(
        f"{_short(node.label)}: {node.relevance:.0%}",
        (node.layer, height),
        textcoords="offset points",
        fontsize=canvas.TICK_SIZE - 1,
        parse_math=False,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5},
        zorder=3,
        **place,
    )


def _draw_patch(axes: Axes, picture: np.ndarray, place: tuple[float, float]) -> None:
    pixels = canvas.as_rgb(picture)
    # An OffsetImage is as large as its pixels, in points of 1/72 inch.
    zoom = 72 * _PICTURE_INCHES / max(pixels.shape[:2])
    image = OffsetImage(pixels, zoom=zoom, interpolation="nearest")
    frame = {"edgecolor": "#bbbbbb"}
    axes.add_artist(AnnotationBbox(image, place, pad=0.1, bboxprops=frame, zorder=2))


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
