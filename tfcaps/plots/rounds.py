"""How a network's stages shrink and grow during a search."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tfcaps.plots import canvas

# Okabe and Ito's palette, from blue to vermillion; more stages begin again.
_COLORS = ("#0072B2", "#56B4E9", "#009E73", "#F0E442", "#E69F00", "#D55E00", "#CC79A7")
_NAMED_ROUNDS = 30
_LEGEND_COLUMNS = 4


def blocks_per_round(
    blocks: Sequence[Sequence[int]],
    labels: Sequence[str],
    *,
    stages: Sequence[str] | None = None,
    entropies: Sequence[float] | None = None,
    title: str = "Blocks of each round's network",
) -> Figure:
    """Draws the number of blocks per stage as stacked bars, one for each round.

    Args:
        blocks: for each of R rounds the blocks of each of S stages, (R, S).
        labels: what to write below the R bars.
        stages: names of the S stages. Default: "stage 1", "stage 2", …
        entropies: a bundle entropy in nats for each round, drawn as a line above the bars; NaN
            where it isn't known. Default: no such line.
        title: Default "Blocks of each round's network".

    Raises:
        ValueError: there is no round, or there are other numbers of labels, names or entropies.

    Example:

    >>> from tfcaps import plots
    >>> figure = plots.blocks_per_round([(3, 12), (3, 5)], ["0", "1"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['15', '8']
    """
    counts = np.asarray(blocks)
    if counts.ndim != 2 or counts.size == 0 or len(counts) != len(labels):
        raise ValueError(
            f"Expected blocks of {len(labels)} rounds as (R, S). Received shape: {counts.shape}"
        )
    rounds, number = counts.shape
    stages = stages or [f"stage {stage}" for stage in range(1, number + 1)]
    if len(stages) != number:
        raise ValueError(f"Expected names of {number} stages. Received: {list(stages)}")
    if entropies is not None and len(entropies) != rounds:
        raise ValueError(f"Expected entropies of {rounds} rounds. Received: {len(entropies)}")
    ratios = [1.0] if entropies is None else [1.0, 3.0]
    figure = canvas.new_figure(min(max(5.0, 1.8 + 0.55 * rounds), 14.0), 3.3 + len(ratios))
    *above, axes = figure.subplots(len(ratios), sharex=True, squeeze=False, height_ratios=ratios)[
        :, 0
    ]
    _draw_bars(axes, counts, stages)
    for upper in above:
        _draw_entropies(upper, entropies)
        upper.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", parse_math=False)
    rows = _style(axes, title="" if above else title)
    if not above:  # makes room for the lines of the legend
        axes.set_title(title, fontsize=canvas.TITLE_SIZE, loc="left", pad=8 + 14 * rows)
    every = -(-rounds // _NAMED_ROUNDS)
    axes.set_xticks(range(0, rounds, every), labels[::every])
    return figure


def _draw_bars(axes, counts, stages):
    """Draws a bar for each round, and writes its sum over it while there is room."""
    places = np.arange(len(counts))
    bottom = np.zeros(len(counts))
    for index, stage in enumerate(stages):
        axes.bar(
            places,
            counts[:, index],
            bottom=bottom,
            width=0.75,
            color=_COLORS[index % len(_COLORS)],
            label=stage,
        )
        bottom += counts[:, index]
    every = -(-len(counts) // _NAMED_ROUNDS)
    for place in places[::every]:
        total = bottom[place]
        axes.text(place, total, f"{total:.0f}", ha="center", va="bottom", fontsize=canvas.TICK_SIZE)
    axes.set_xlim(-0.6, len(counts) - 0.4)
    axes.set_ylim(0, max(bottom.max() * 1.12, 1.0))


def _draw_entropies(axes, entropies):
    values = np.asarray(entropies, "float64")
    axes.plot(values, color="#333333", marker="o", markersize=4, clip_on=False)
    axes.set_ylabel("H in nats", fontsize=canvas.LABEL_SIZE)
    axes.set_ylim(0, 1.15 * np.nanmax(values, initial=0.0) or 1.0)
    axes.tick_params(labelsize=canvas.TICK_SIZE)
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis="y", color="#dddddd", linewidth=0.6)


def _style(axes, *, title: str) -> int:
    """Gives the bars their texts; returns how many lines the legend has."""
    canvas.style_chart(axes, title=title, x_label="Round", y_label="Blocks")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(
        handles,
        names,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=_LEGEND_COLUMNS,
        borderaxespad=0.2,
        borderpad=0.0,
        columnspacing=1.0,
        handlelength=1.0,
        frameon=False,
        fontsize=canvas.TICK_SIZE,
    )
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="x")
    return -(-len(names) // _LEGEND_COLUMNS)
