from .activations import Found as Found, activation_images as activation_images
from .options import (
    ActivationOptions as ActivationOptions,
    ExplanationOptions as ExplanationOptions,
)
from .predictions import explain as explain, read_image as read_image
from .receptive_fields import ReceptiveField as ReceptiveField, receptive_field as receptive_field
from .routing_trees import (
    Branch as Branch,
    Level as Level,
    RoutingTree as RoutingTree,
    routing_tree as routing_tree,
)
