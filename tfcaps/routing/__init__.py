"""Routings: ways in which input capsules agree on output capsules."""

from tfcaps.routing.agreement import AgreementRouting
from tfcaps.routing.em import EMRouting
from tfcaps.routing.mean import MeanRouting
from tfcaps.routing.registry import get, names, register, serialize
from tfcaps.routing.routing import Routing
from tfcaps.routing.scaled_distance import ScaledDistanceRouting

__all__ = [
    "AgreementRouting",
    "EMRouting",
    "MeanRouting",
    "Routing",
    "ScaledDistanceRouting",
    "get",
    "names",
    "register",
    "serialize",
]
