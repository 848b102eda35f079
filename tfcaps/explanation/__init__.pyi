from .activation_images import (
    ActivationImages as ActivationImages,
    activation_images as activation_images,
)
from .explain import explain as explain, read_image as read_image
from .receptive_field import ReceptiveField as ReceptiveField, receptive_field as receptive_field
from .routing_tree import (
    Branch as Branch,
    Level as Level,
    RoutingTree as RoutingTree,
    routing_tree as routing_tree,
)
