from .activation_images import (
    ActivationImages as ActivationImages,
)
from .activation_images import (
    activation_images as activation_images,
)
from .explain import explain as explain
from .explain import read_image as read_image
from .receptive_field import ReceptiveField as ReceptiveField
from .receptive_field import receptive_field as receptive_field
from .routing_tree import (
    Branch as Branch,
)
from .routing_tree import (
    Level as Level,
)
from .routing_tree import (
    RoutingTree as RoutingTree,
)
from .routing_tree import (
    routing_tree as routing_tree,
)
