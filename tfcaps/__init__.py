"""Capsule networks, conflicting bundles and other tests of what is worth having in a network."""

__version__ = "0.1.0"
