"""What capsules look for, and how they came to a decision."""

from tfcaps.explanation.activation_images import ActivationImages, activation_images
from tfcaps.explanation.explain import explain, read_image
from tfcaps.explanation.receptive_field import ReceptiveField, receptive_field
from tfcaps.explanation.routing_tree import Branch, Level, RoutingTree, routing_tree

__all__ = [
    "ActivationImages",
    "Branch",
    "Level",
    "ReceptiveField",
    "RoutingTree",
    "activation_images",
    "explain",
    "read_image",
    "receptive_field",
    "routing_tree",
]
