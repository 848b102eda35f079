"""A network's constructor arguments, shown as attributes."""

from typing import Any


def argument(name: str, doc: str) -> Any:
    """A read-only attribute for one of the arguments that `get_config` gives.

    Where Keras has an attribute of the argument's name already, the attribute has another one.

    Args:
        name: of the argument.
        doc: what it is.
    """
    return property(lambda network: network._config[name], doc=doc)
