"""What data sets of images are called, known without TensorFlow."""

import os

from tfcaps.errors import UsageError

NAMES = (
    "mnist5k",
    "mnist",
    "fashion_mnist",
    "cifar10",
    "svhn_cropped",
    "smallnorb",
    "imagenette",
)
IMAGES = "images:"
ABSTRACT = "abstract:"
# How a run calls the data that a program gave it, which can't be loaded again.
GIVEN = "given:"
# The published programs called them so.
_PUBLISHED = {"svhn": "svhn_cropped", "norb": "smallnorb"}


def own_name(name: str) -> str:
    """The name that a data set has here."""
    return _PUBLISHED.get(name, name)


def is_same_set(name: str, other: str) -> bool:
    """Whether two names mean one data set: names of the papers, or ways to write one folder.

    Example:

    >>> is_same_set("svhn", "svhn_cropped"), is_same_set("images:a/../b", "images:./b/")
    (True, True)
    >>> is_same_set("mnist", "mnist5k")
    False
    """
    return _settled(name) == _settled(other)


def _settled(name: str) -> str:
    if name.startswith(IMAGES):
        return IMAGES + os.path.realpath(os.path.expanduser(name.removeprefix(IMAGES)))
    return own_name(name)


def check_name(name: str) -> None:
    """Checks that there can be a data set of this name; whether it is there isn't looked at.

    Raises:
        UsageError: there is none.

    Example:

    >>> check_name("mnist6k")
    Traceback (most recent call last):
    tfcaps.errors.UsageError: Expected a data set among mnist5k, mnist, fashion_mnist, cifar10, \
svhn_cropped, smallnorb, imagenette, images:FOLDER, abstract:TASK. Received: mnist6k
    """
    if name.startswith(ABSTRACT):
        from tfcaps.datasets.abstract_shapes.generator import check_name as check_abstract

        check_abstract(name.removeprefix(ABSTRACT))
    elif not name.startswith((IMAGES, GIVEN)) and own_name(name) not in NAMES:
        raise UsageError(
            f"Expected a data set among {', '.join(NAMES)}, images:FOLDER, abstract:TASK. "
            f"Received: {name}"
        )
