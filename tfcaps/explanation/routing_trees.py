"""Which capsules made a network decide as it did, from the class down to places of the image."""

import math
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tfcaps.explanation.receptive_fields import ReceptiveField, receptive_field
from tfcaps.layers import ConvCapsule, DenseCapsule, Gate
from tfcaps.models import CapsuleNetwork
from tfcaps.ops import safe_norm
from tfcaps.training import probe

_TINY = 1e-30  # instead of a division by 0


class Level(NamedTuple):
    """One capsule layer of a routing tree.

    Args:
        name: of the layer.
        relevance: of each node. A node is a capsule; in a layer of maps it is a capsule type; in
            the lowest layer, if it has several places, it is a place, row by row.
        lengths: of the capsules `(I,)`, or of maps of them `(H', W', types)`.
    """

    name: str
    relevance: np.ndarray
    lengths: np.ndarray


class Branch(NamedTuple):
    """What a layer gets its relevance from.

    Args:
        lower, upper: names of the layers.
        flow: relevance that goes from each upper to each lower node, `(upper nodes, lower nodes)`.
        is_skip: whether it is a residual connection, and not a routing.
    """

    lower: str
    upper: str
    flow: np.ndarray
    is_skip: bool


class RoutingTree(NamedTuple):
    """Where the capsule of one class got its votes from.

    Args:
        capsule: the class.
        scores: lengths of all class capsules (K,).
        levels: from the lowest capsule layer to the classes.
        branches: from the classes downwards.
        places: relevance of the lowest layer's places (H', W').
        field: which pixels they see.
        heat: which pixels the relevance comes from (h, w): the mean of the places that see a pixel,
            NaN where none does. Where each place sees the whole image, that would be the same
            everywhere, and it is `Σ_i r_i |∂‖u_i‖/∂x|` instead, r the relevance of capsule i,
            scaled to a sum of 1: how much the relevant capsules' lengths depend on a pixel.
        class_capsules: (K, E).
    """

    capsule: int
    scores: np.ndarray
    levels: list[Level]
    branches: list[Branch]
    places: np.ndarray
    field: ReceptiveField
    heat: np.ndarray
    class_capsules: np.ndarray

    @property
    def has_places(self) -> bool:
        """Whether the lowest layer's nodes are places; else they are capsules."""
        return self.places.size > 1


def routing_tree(
    model: CapsuleNetwork, image: np.ndarray, capsule: int | None = None
) -> RoutingTree:
    """Follows a class capsule's votes down to the places of the lowest capsule layer.

    The class capsule has relevance 1. A routed capsule o hands its relevance to its inputs i in
    shares `c_oi · max(û_oi · v_o/‖v_o‖, 0)`: the coupling times how far the vote points along the
    capsule. In convolutional layers, where a kernel mixes the votes of several places, shares are
    `c_oi · a_i`, the coupling times the input's length, for the places below the kernel. A residual
    connection gets the share of the sum's length that it brought. Where no vote points along the
    capsule, shares are `c_oi · a_i`, too. So relevance isn't lost: the lowest layer's is 1, unless
    all capsules of a layer are 0.

    Args:
        model: the network.
        image: its input (h, w, C).
        capsule: the class whose votes are followed. Default None: the predicted one.

    Returns:
        The tree.

    Example:

    >>> from tfcaps.models import CapsNet
    >>> model = CapsNet((17, 17, 1), layers=(2, 3, 10), dimensions=(4, 4, 4))
    >>> image = np.random.default_rng(0).random((17, 17, 1), "float32")
    >>> tree = routing_tree(model, image, capsule=3)
    >>> [level.name for level in tree.levels], tree.places.shape, f"{tree.places.sum():.3f}"
    (['primary_capsules', 'capsules_1', 'capsules_2'], (1, 1), '1.000')

    Sources: couplings as a parse tree: Sabour, Frosst, Hinton, arXiv 1710.09829; trees that can be
    read: Peer, Stabinger, Rodríguez-Sánchez: γ-capsules, arXiv 1812.09707.
    """
    network = _Inside(model, image)
    *lower_names, top = network.names
    scores = np.linalg.norm(network.capsules[top], axis=-1)
    chosen = int(scores.argmax()) if capsule is None else capsule
    # Of a layer's capsules as the layer above sees them, and as they were before an addition.
    after = {name: np.zeros(network.capsules[name].shape[:-1]) for name in network.names}
    before = {name: np.zeros_like(values) for name, values in after.items()}
    after[top][chosen] = 1.0
    branches = []
    for lower, upper in reversed(list(zip(lower_names, network.names[1:], strict=True))):
        routed = after[upper] + before[upper]
        if upper in network.skips:
            source, is_sum = network.skips[upper]
            brought = after[upper] * network.share_of_skip(upper)
            (after if is_sum else before)[source] += brought
            routed -= brought
            branches.append(network.branch(source, upper, _one_to_one(brought), is_skip=True))
        flow = network.flow(lower, upper, routed)
        after[lower] += flow.sum(axis=0)
        branches.append(network.branch(lower, upper, flow, is_skip=False))
    relevance = {name: after[name] + before[name] for name in network.names}
    lowest = relevance[lower_names[0]]
    return RoutingTree(
        capsule=chosen,
        scores=scores,
        levels=[
            Level(
                name,
                network.nodes(name, relevance[name]),
                np.linalg.norm(network.capsules[name], axis=-1),
            )
            for name in network.names
        ],
        branches=branches,
        places=network.of_places(lowest),
        field=network.field,
        heat=network.heat(lowest),
        class_capsules=network.capsules[top],
    )


class _Inside:
    """What one image makes of the capsule layers of a network.

    `capsules` are as the layer above sees them, `raw` as they were before an addition; `skips` has
    the layer whose capsules are added to those of a layer, and whether that is after its own
    addition.
    """

    def __init__(self, model: CapsuleNetwork, image: np.ndarray):
        inspector = model.inspector
        self.names = list(inspector.output["capsules"])
        self.layers = {name: model.get_layer(name) for name in self.names}
        routed = {name: self.layers[name].output[0] for name in inspector.output["couplings"]}
        inside = keras.Model(inspector.input, {**inspector.output, "raw": routed})
        found = keras.tree.map_structure(
            lambda values: values[0], probe.in_batches(inside, image[np.newaxis])
        )
        self.capsules, self.couplings, self.raw = (
            found[name] for name in ("capsules", "couplings", "raw")
        )
        self.skips = _skips(model, routed, inspector.output["capsules"])
        self._image = image
        self._lowest = keras.Model(inspector.input, inspector.output["capsules"][self.names[0]])
        self.field = receptive_field(self._lowest.layers, image.shape[:2])

    def share_of_skip(self, name: str) -> np.ndarray:
        """How much of each sum's length the residual connection brought, 0 to 1."""
        total = _unit(self.capsules[name])
        source, is_sum = self.skips[name]
        below = (self.capsules if is_sum else self.raw)[source]
        own, brought = (
            np.maximum(np.sum(part * total, axis=-1), 0.0)
            for part in (self.capsules[name] - below, below)
        )
        return brought / np.maximum(own + brought, _TINY)

    def flow(self, lower: str, upper: str, relevance: np.ndarray) -> np.ndarray:
        """Relevance of a layer's capsules, by capsule (type), to those below: `(O, …)`."""
        layer, inputs = self.layers[upper], self.capsules[lower]
        if isinstance(layer, ConvCapsule):
            return _flow_below_kernel(layer, inputs, self.couplings[upper], relevance)
        inputs = inputs.reshape(-1, inputs.shape[-1])
        coupling = self.couplings[upper]
        weights = coupling * np.linalg.norm(inputs, axis=-1)
        if isinstance(layer, DenseCapsule):
            # û_oi · v_o/‖v_o‖ without the votes, of which there may be many.
            pulled = np.einsum("oe,oied->oid", _unit(self.raw[upper]), np.asarray(layer.kernel))
            agreeing = coupling * np.maximum(np.einsum("oid,id->oi", pulled, inputs), 0.0)
            has_any = agreeing.sum(axis=-1, keepdims=True) > _TINY
            weights = np.where(has_any, agreeing, weights)
        shares = weights / np.maximum(weights.sum(axis=-1, keepdims=True), _TINY)
        return (relevance[:, np.newaxis] * shares).reshape(-1, *self.capsules[lower].shape[:-1])

    def of_places(self, values: np.ndarray) -> np.ndarray:
        """Sums values of the lowest layer's capsules over the types at a place: (H', W')."""
        return values.reshape(*self.field.places, -1).sum(axis=-1)

    def heat(self, relevance: np.ndarray) -> np.ndarray:
        """Which pixels the lowest layer's relevance comes from, see `RoutingTree`."""
        if self.field.is_local:
            return self.field.spread(self.of_places(relevance))
        relevance = relevance.ravel()
        (relevant,) = np.nonzero(relevance)
        image = tf.constant(self._image[np.newaxis])
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(image)
            capsules = tf.reshape(self._lowest(image), (relevance.size, -1))
            lengths = tf.unstack(safe_norm(capsules))
        heat = np.zeros(self.field.image)
        for index in relevant:
            slopes = np.abs(tape.gradient(lengths[index], image)[0]).sum(axis=-1)
            heat += relevance[index] * slopes
        return heat / max(heat.sum(), _TINY)

    def nodes(self, name: str, values: np.ndarray) -> np.ndarray:
        """Sums values of a layer's capsules over those that are one node of the tree."""
        if name == self.names[0] and math.prod(self.field.places) > 1:
            return self.of_places(values).ravel()
        return values.reshape(-1, values.shape[-1]).sum(axis=0)

    def branch(self, lower: str, upper: str, flow: np.ndarray, *, is_skip: bool) -> Branch:
        return Branch(lower, upper, np.stack([self.nodes(lower, part) for part in flow]), is_skip)


def _skips(
    model: CapsuleNetwork,
    routed: dict[str, keras.KerasTensor],
    capsules: dict[str, keras.KerasTensor],
) -> dict[str, tuple[str, bool]]:
    """For each layer with a connection: whose capsules it adds, and whether after their addition.

    Args:
        model: the network.
        routed: what the routed layers give, by name.
        capsules: what all layers give to those above, by name.
    """
    sources = {id(tensor): (name, True) for name, tensor in capsules.items()}
    sources |= {id(tensor): (name, False) for name, tensor in routed.items()}
    gates = [layer for layer in model.layers if isinstance(layer, Gate)]
    sources |= {id(gate.output): sources[id(gate.input)] for gate in gates}
    additions = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    pairs = [[sources[id(tensor)] for tensor in layer.input] for layer in additions]
    return {upper: source for (upper, _), source in pairs}


def _one_to_one(values: np.ndarray) -> np.ndarray:
    """From values (…, O) to (O, …, O), in which each type has its own values only."""
    return np.stack([values * (np.arange(values.shape[-1]) == o) for o in range(values.shape[-1])])


def _flow_below_kernel(
    layer: ConvCapsule, inputs: np.ndarray, coupling: np.ndarray, relevance: np.ndarray
) -> np.ndarray:
    """Relevance (H', W', O) to capsule maps (H, W, I, D), by output type: (O, H, W, I).

    With `Z_o = Σ_i c_oi Σ_q a_qi`, q the places below the kernel, an input's share is
    `a_qi · ∂ log Z_o/∂a_qi`.
    """
    lengths = tf.constant(np.linalg.norm(inputs, axis=-1)[np.newaxis])
    flows = []
    for o in range(relevance.shape[-1]):
        with tf.GradientTape() as tape:
            tape.watch(lengths)
            # A mean over the kernel is as good as a sum: the factor cancels.
            below = keras.ops.average_pool(
                lengths, layer.kernel_size, layer.strides, layer.padding
            )[0]
            total = tf.reduce_sum(coupling[:, :, o] * below, axis=-1)
            logarithm = tf.math.log(tf.maximum(total, _TINY))
            handed = tf.reduce_sum(relevance[..., o].astype("float32") * logarithm)
        flows.append((lengths * tape.gradient(handed, lengths))[0].numpy())
    return np.stack(flows)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(norms, _TINY)
