from .board import Board as Board
from .builder import AbstractShapes as AbstractShapes
from .checker import decide as decide
from .generator import (
    CLASS_NAMES as CLASS_NAMES,
    generate as generate,
    layouts as layouts,
    read_abstract as read_abstract,
    read_name as read_name,
    stream as stream,
)
from .identities import Identities as Identities
from .layout import Layout as Layout
from .patterns import Patterns as Patterns
from .pipelines import dataset as dataset
from .rendering import renderings as renderings
from .tasks import names as names
from .writing import (
    read_records as read_records,
    write_pictures as write_pictures,
    write_records as write_records,
)
