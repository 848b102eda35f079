from .checker import decide as decide
from .generator import (
    Layout as Layout,
    generate as generate,
    layouts as layouts,
    names as names,
    read_abstract as read_abstract,
    stream as stream,
)
