from .checker import decide as decide
from .generator import (
    CLASS_NAMES as CLASS_NAMES,
    generate as generate,
    layouts as layouts,
    names as names,
    read_abstract as read_abstract,
    stream as stream,
)
from .layout import Layout as Layout
from .rendering import renderings as renderings
