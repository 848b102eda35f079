"""Networks of equal blocks in stages: fully connected, plain and residual convolutional ones."""

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from tfcaps.errors import UsageError, positive_int
from tfcaps.layers.plain_block import BATCH_NORMALIZATION, PlainBlock
from tfcaps.layers.residual_block import ResidualBlock
from tfcaps.models.arguments import argument
from tfcaps.models.block_names import KINDS, STEMS, block_name, block_numbers
from tfcaps.models.image_classifier import ImageClassifier, check_image_shape, policy_name

# Images up to this many pixels wide would be too small for the last stages after a pooling.
_WIDEST_UNPOOLED = 50


@keras.saving.register_keras_serializable(package="tfcaps")
class BlockNetwork(ImageClassifier):
    """A stem, stages of blocks, and a dense layer: images `(B, H, W, C)` to logits `(B, K)`.

    In the convolutional kinds, "vgg" of `PlainBlock`s and "resnet" of `ResidualBlock`s, the first
    block of each stage but the first one has stride 2, and the maps are averaged over all places
    before the dense layer. An "fnn" has dense layers with ReLU as blocks, and no stem. Padding is
    "same" everywhere, so images may have any size.

    Block b of stage s, both from 1 on, is the layer `stage{s}_block{b}`.

    Args:
        input_shape: `(H, W, C)` of the images.
        num_classes: K.
        kind: "fnn", "vgg" or "resnet". Default "resnet".
        blocks: for each stage the number of blocks, or the blocks' own numbers, which then stay
            the same when others are removed or added. Default (3, 4, 6, 3).
        widths: for each stage the filters of a convolution, or the units of a dense layer. The
            stem has those of the first stage. Default (64, 128, 256, 512).
        hidden: for each stage the filters of its blocks' first convolutions, of the convolutional
            kinds. Default: as `widths`.
        stem: "imagenet": 7×7, stride 2, and 3×3 max pooling, stride 2, for images wider than 50
            pixels; "cifar": 3×3, stride 1, for small images; "pooled": the same and 2×2 max
            pooling, so that wider stages cost as much; "deep": two such convolutions, the first
            with half of the filters, and the pooling. Default "imagenet".
        dtype: Keras dtype policy of the layers. Default: the global one. Logits are float32, or
            float64 where the policy is.
        name: Default: that of the class.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> import numpy as np
    >>> model = BlockNetwork((8, 8, 3), 10, "resnet", blocks=(2, 1), widths=(4, 8), stem="cifar")
    >>> tuple(model(np.zeros((5, 8, 8, 3), "float32")).shape)
    (5, 10)
    >>> model.residual_blocks
    ('stage1_block1', 'stage1_block2', 'stage2_block1')
    >>> model.identity_blocks                     # the third changes stride and channels
    ('stage1_block1', 'stage1_block2')

    Source: Peer et al., Conflicting bundles, arXiv 2011.02956.
    """

    def __init__(
        self,
        input_shape,
        num_classes,
        kind="resnet",
        blocks=(3, 4, 6, 3),
        widths=(64, 128, 256, 512),
        stem="imagenet",
        dtype=None,
        name=None,
        hidden=None,
    ):
        config = {
            "input_shape": check_image_shape(input_shape),
            "num_classes": positive_int("num_classes", num_classes),
            "kind": _check_choice("kind", kind, KINDS),
            **check_trunk(blocks, widths, stem),
            "dtype": policy_name(dtype),
        }
        config["hidden"] = _check_hidden(hidden, config["widths"], config["kind"])
        parts = _Parts(config)
        super().__init__(parts.images, parts.logits, config, name)
        self._parts = parts

    kind = argument("kind", '"fnn", "vgg" or "resnet".')
    blocks = argument("blocks", "The blocks' numbers, for each stage.")
    widths = argument("widths", "Filters, or units, of each stage.")
    hidden = argument("hidden", "Filters of the blocks' first convolutions, of each stage.")
    stem = argument("stem", '"imagenet", "cifar", "pooled" or "deep".')

    @property
    def block_names(self) -> tuple[str, ...]:
        """Names of all blocks, from the lowest on."""
        return tuple(block.name for block in self._parts.blocks)

    @property
    def residual_blocks(self) -> tuple[str, ...]:
        """Names of the blocks that have a branch, from the lowest on."""
        return tuple(block.name for block in self._parts.residual_blocks)

    @property
    def identity_blocks(self) -> tuple[str, ...]:
        """Names of the residual blocks that leave nothing behind: their shortcut is the identity.

        Without one of them the network is what it is with the block's branch switched off.
        """
        blocks = self._parts.residual_blocks
        return tuple(block.name for block in blocks if block.has_identity_shortcut)

    # Cached: saving a model looks at each of its attributes, these among them.

    @functools.cached_property
    def inspector(self) -> keras.Model:
        """Model from images to a dict of each block's output, from the lowest block on.

        Its keys are the blocks' names; of a residual block there are `NAME/branch`, see
        `ResidualBlock`, and `NAME/output`.
        """
        return keras.Model(self.input, self._parts.taps, name="inspector")

    @functools.cached_property
    def lesionable(self) -> keras.Model:
        """Model from `{"image": (B, H, W, C), "keep": (B, residual blocks)}` to logits `(B, K)`.

        `keep[:, i]` is the factor of the i-th of the `residual_blocks`' branches: 1 keeps it, 0
        removes it and leaves the shortcut. Networks without such blocks have no such model.
        """
        keep = keras.Input((len(self.residual_blocks),), name="keep")
        logits, _ = self._parts.connect(self.input, keep=keep)
        return keras.Model({"image": self.input, "keep": keep}, logits, name="lesionable")


class _Parts:
    """A network's layers, which several graphs share, in a box that Keras doesn't track."""

    def __init__(self, config):
        self.stem = _stem(config)
        self.blocks = _blocks(config)
        self.head = _head(config)
        self.images = keras.Input(config["input_shape"], name="image")
        self.logits, self.taps = self.connect(self.images)

    @property
    def residual_blocks(self):
        return [block for block in self.blocks if isinstance(block, ResidualBlock)]

    def connect(self, images, *, keep=None):
        """Applies the layers to symbolic images.

        Args:
            images: symbolic images.
            keep: symbolic factors (B, residual blocks) of the branches, or None.

        Returns:
            The logits, and the dict of the blocks' symbolic outputs.
        """
        x = images
        for layer in self.stem:
            x = layer(x)
        taps = {}
        for index, block in enumerate(self.blocks):
            if isinstance(block, ResidualBlock):
                # Keras wants a layer to return as many tensors in each call, so taps are always
                # there; what nobody asks for is left out when a graph is compiled.
                kept = None if keep is None else keep[:, index]
                outputs = block(x, keep=kept, return_taps=True)
                x = outputs["output"]
                taps.update({f"{block.name}/{name}": tap for name, tap in outputs.items()})
            else:
                x = taps[block.name] = block(x)
        for layer in self.head:
            x = layer(x)
        return x, taps


def check_trunk(
    blocks: Iterable[int | Sequence[int]], widths: Iterable[int], stem: str
) -> dict[str, Any]:
    """Checks what is below the head of a network, and returns it as `trunk` takes it.

    Args:
        blocks: for each stage, see `BlockNetwork`.
        widths: for each stage, see `BlockNetwork`.
        stem: its name, see `BlockNetwork`.

    Raises:
        UsageError: one of them is out of its range.

    Example:

    >>> check_trunk([2, 1], [8, 16], "pooled")
    {'blocks': ((1, 2), (1,)), 'widths': (8, 16), 'stem': 'pooled'}
    """
    stages, widths = _check_stages(blocks, widths)
    return {"blocks": stages, "widths": widths, "stem": _check_choice("stem", stem, STEMS)}


def trunk(
    images: keras.KerasTensor,
    dtype: str,
    *,
    blocks: tuple[tuple[int, ...], ...],
    widths: tuple[int, ...],
    stem: str,
) -> keras.KerasTensor:
    """A residual network without its head, for other heads.

    Args:
        images: symbolic, `(B, H, W, C)`.
        dtype: Keras dtype policy of the layers.
        blocks: for each stage, as `check_trunk` returns it.
        widths: for each stage, likewise.
        stem: its name.

    Returns:
        The last block's feature maps, symbolic: `(B, H', W', widths[-1])`.

    Example:

    >>> images = keras.Input((32, 32, 3))
    >>> trunk(images, "float32", **check_trunk((1, 1), (8, 16), "pooled")).shape
    (None, 8, 8, 16)
    """
    config = {
        "kind": "resnet",
        "input_shape": images.shape[1:],
        "blocks": blocks,
        "widths": widths,
        "hidden": widths,
        "stem": stem,
        "dtype": dtype,
    }
    maps = images
    for layer in [*_stem(config), *_blocks(config)]:
        maps = layer(maps)
    return maps


def _stem(config):
    """The layers in front of the first block."""
    common = {"dtype": config["dtype"]}
    if config["kind"] == "fnn":
        return [keras.layers.Flatten(name="stem_flatten", **common)]
    width, stem = config["widths"][0], config["stem"]
    is_wide = config["input_shape"][1] > _WIDEST_UNPOOLED
    size, strides = (7, 2) if stem == "imagenet" else (3, 1)
    window = {"imagenet": 3 if is_wide else None, "cifar": None}.get(stem, 2)
    convolved = _convolved("stem", width, size, strides, common)
    pooling = [] if window is None else [_pooling(window, common)]
    if stem != "deep":
        return [*convolved, *pooling]
    below = _convolved("stem1", max(width // 2, 1), size, strides, common)
    # Pooled before it is normalised, which is a quarter of the work.
    convolution, *normalized = convolved
    return [*below, convolution, *pooling, *normalized]


def _convolved(name, filters, size, strides, common):
    """Convolution, batch normalisation, ReLU."""
    return [
        keras.layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            use_bias=False,  # batch normalisation would subtract it again
            kernel_initializer="he_normal",
            name=f"{name}_conv",
            **common,
        ),
        keras.layers.BatchNormalization(**BATCH_NORMALIZATION, name=f"{name}_bn", **common),
        keras.layers.ReLU(name=f"{name}_relu", **common),
    ]


def _pooling(window, common):
    return keras.layers.MaxPooling2D(window, 2, padding="same", name="stem_pooling", **common)


def _blocks(config):
    """The blocks of all stages."""
    return [
        _block(
            config["kind"],
            width,
            hidden,
            strides=2 if stage > 1 and position == 0 else 1,
            dtype=config["dtype"],
            name=block_name(stage, number),
        )
        for stage, (numbers, width, hidden) in enumerate(
            zip(config["blocks"], config["widths"], config["hidden"], strict=True), start=1
        )
        for position, number in enumerate(numbers)
    ]


def _block(kind, width, hidden, *, strides, **common):
    if kind == "fnn":
        return keras.layers.Dense(
            width, activation="relu", kernel_initializer="he_uniform", **common
        )
    return {"vgg": PlainBlock, "resnet": ResidualBlock}[kind](
        width, strides, hidden=hidden, **common
    )


def _head(config):
    """The layers behind the last block, which compute in single precision at least."""
    dtype = "float64" if config["dtype"] == "float64" else "float32"
    dense = keras.layers.Dense(config["num_classes"], dtype=dtype, name="logits")
    if config["kind"] == "fnn":
        return [dense]
    return [keras.layers.GlobalAveragePooling2D(dtype=dtype, name="pooling"), dense]


def zero_branches(model: BlockNetwork, names: Iterable[str]) -> None:
    """Makes exact identities of residual blocks with an identity shortcut.

    γ = β = 0 in the branch's last batch normalisation, so `y = relu(x + 0) = x`: x is the output
    of a ReLU.

    Args:
        model: the network, whose weights are changed.
        names: of the blocks.

    Raises:
        UsageError: one of them has another shortcut.
    """
    for block in _identities(model, names):
        for weight in (block.bn2.gamma, block.bn2.beta):
            weight.assign(keras.ops.zeros_like(weight))


def gaussian_branches(
    model: BlockNetwork, names: Iterable[str], *, seed: int, stddev: float = 1.0
) -> None:
    """Starts residual blocks at random: γ ~ N(0, stddev²), β = 0 in the branch's last BN.

    Args:
        model: the network, whose weights are changed.
        names: of the blocks.
        seed: of the random numbers; each block gets its own.
        stddev: standard deviation of γ. Default 1.

    Raises:
        UsageError: one of them has another shortcut.
    """
    seeds = keras.random.SeedGenerator(seed)
    for block in _identities(model, names):
        gamma, beta = block.bn2.gamma, block.bn2.beta
        gamma.assign(keras.random.normal(gamma.shape, 0.0, stddev, gamma.dtype, seeds))
        beta.assign(keras.ops.zeros_like(beta))


def count_flops(model: BlockNetwork) -> int:
    """Floating point operations for one image: 2 for each multiply-accumulate.

    Those of convolutions and dense layers count; others are few in comparison.

    Args:
        model: the network.

    Example:

    >>> model = BlockNetwork((4, 4, 1), 10, "fnn", blocks=(1,), widths=(8,))
    >>> count_flops(model)                          # 2·(16·8 + 8·10)
    416
    """
    total = 0
    for layer in model.layers:
        if isinstance(layer, PlainBlock):
            total += layer.multiply_accumulates(layer.input.shape[1:])
        elif isinstance(layer, keras.layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, keras.layers.Dense):
            total += math.prod(layer.kernel.shape)
    return 2 * total


def _identities(model: BlockNetwork, names: Iterable[str]) -> list[ResidualBlock]:
    allowed = model.identity_blocks
    names = list(names)
    for name in names:
        if name not in allowed:
            raise UsageError(
                "Expected a residual block with an identity shortcut, one of "
                f"{', '.join(allowed) or 'none'}. Received: {name}"
            )
    return [model.get_layer(name) for name in names]


def _check_choice(name, value, choices):
    if value not in choices:
        raise UsageError(f"Expected {name} to be one of {', '.join(choices)}. Received: {value!r}")
    return value


def _check_hidden(hidden, widths, kind):
    if hidden is None:
        return widths
    hidden = tuple(positive_int("every entry of hidden", width) for width in hidden)
    if len(hidden) != len(widths) or (kind == "fnn" and hidden != widths):
        allowed = "no hidden of an fnn" if kind == "fnn" else "as many entries of hidden as stages"
        raise UsageError(f"Expected {allowed}. Received: hidden={','.join(map(str, hidden))}")
    return hidden


def _check_stages(blocks, widths):
    """Checks blocks and widths, and returns tuples: the numbers of a stage's blocks, its width."""
    blocks = tuple(blocks)
    stages = tuple(_block_numbers(entry) for entry in blocks)
    widths = tuple(positive_int("every entry of widths", width) for width in widths)
    received = ",".join(str(entry) for entry in blocks)
    if not any(stages):
        raise UsageError(f"Expected at least one block. Received: blocks={received}")
    if len(stages) != len(widths):
        raise UsageError(
            "Expected as many widths as stages. "
            f"Received: blocks={received}, widths={','.join(map(str, widths))}"
        )
    return stages, widths


def _block_numbers(entry: int | Sequence[int]) -> tuple[int, ...]:
    """The numbers of one stage's blocks; a count n stands for 1..n."""
    if isinstance(entry, Sequence) and not isinstance(entry, str):
        numbers = tuple(positive_int("every number of a block", n) for n in entry)
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"Expected distinct numbers of a stage's blocks. Received: {entry!r}")
        return numbers
    if isinstance(entry, bool) or not hasattr(entry, "__index__") or int(entry) < 0:
        raise UsageError(f"Expected every entry of blocks to be >= 0. Received: {entry!r}")
    return block_numbers(int(entry))
