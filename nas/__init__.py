"""Searches over architectures, and studies of trained networks, on top of `tfcaps`."""

from nas.architecture import Architecture
from nas.configuration import SearchConfig
from nas.search import auto_tune

__all__ = ["Architecture", "SearchConfig", "auto_tune"]
