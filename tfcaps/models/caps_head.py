"""Class capsules on the trunk of a residual network."""

from tfcaps.layers import DenseCapsule, PrimaryCapsule
from tfcaps.models.arguments import argument
from tfcaps.models.block_network import check_trunk, trunk
from tfcaps.models.capsule_network import CapsuleNetwork
from tfcaps.models.registry import register
from tfcaps.models.stack import Tap, residual_stack


@register(
    "CapsHead",
    layers=(32, 10),
    dimensions=(8, 16),
    use_reconstruction=False,
    blocks=(1, 1, 1, 1),
    widths=(64, 128, 256, 512),
    stem="pooled",
)
class CapsHead(CapsuleNetwork):
    """Capsules in place of the dense head of a residual network.

    The stem and the residual blocks of `BlockNetwork`; primary capsules, `layers[0]` types of
    dimension `dimensions[0]` at each place of the last feature map; a dense capsule layer for each
    further entry, the last of which are the classes. 32×32 images leave 2×2 places, and so 128
    primary capsules.

    A primary capsule is a group of channels of one place, behind a 1×1 convolution without
    activation. The map itself comes out of a ReLU: its groups would all lie in one orthant, none
    further than 90° from any other, while a capsule's direction is its pose and has to have a sign.
    The convolution also parts the number of capsules from the trunk's width. Places stay apart
    rather than being averaged, as for a dense head: which of them agree is what routing finds out.

    Args:
        input_shape, layers, dimensions, routing: see `CapsuleNetwork`; `layers` are (32, 10) by
            default, `dimensions` (8, 16).
        blocks: for each stage the number of residual blocks. Default (1, 1, 1, 1).
        widths: for each stage the filters. Default (64, 128, 256, 512).
        stem: "imagenet", "cifar", "pooled" or "deep", see `BlockNetwork`. Default "pooled".
        **common: see `CapsuleNetwork`. There is no decoder by default.

    Raises:
        ValueError: an argument is out of its range.

    Example:

    >>> model = CapsHead((32, 32, 3), routing="em", widths=(8, 16, 32, 64))
    >>> {name: tensor.shape for name, tensor in model.inspector.output["capsules"].items()}
    {'primary_capsules': (None, 128, 8), 'capsules_1': (None, 10, 16)}

    Sources: Sabour, Frosst, Hinton, arXiv 1710.09829; He et al., Deep residual learning, arXiv
    1512.03385.
    """

    # Normalised maps are large, and squash makes nearly 1 of it.
    has_long_primaries = True

    def __init__(
        self,
        input_shape,
        layers=None,
        dimensions=None,
        routing=None,
        *,
        blocks=None,
        widths=None,
        stem=None,
        **common,
    ):
        given = {"blocks": blocks, "widths": widths, "stem": stem}
        own = {
            name: self.published[name] if value is None else value for name, value in given.items()
        }
        super().__init__(input_shape, layers, dimensions, routing, **common, **check_trunk(**own))

    blocks = argument("blocks", "The blocks' numbers, for each stage.")
    widths = argument("widths", "Filters of each stage.")
    stem = argument("stem", '"imagenet", "cifar", "pooled" or "deep".')

    @staticmethod
    def connect(images, layers, dimensions, *, skips, dtype, routed, blocks, widths, stem):
        maps = trunk(images, dtype, blocks=blocks, widths=widths, stem=stem)
        primary = PrimaryCapsule(
            layers[0], dimensions[0], 1, 1, dtype=dtype, name="primary_capsules"
        )(maps)
        dense = routed([DenseCapsule] * (len(layers) - 1), layers[1:], dimensions[1:])
        return [Tap("primary_capsules", primary), *residual_stack(primary, dense, skips)]
