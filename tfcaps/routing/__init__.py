"""Routings: ways in which input capsules agree on output capsules."""

from tfcaps.routing.agreement import AgreementRouting
from tfcaps.routing.em import EMRouting
from tfcaps.routing.mean import MeanRouting
from tfcaps.routing.registry import get, names, register, serialize
from tfcaps.routing.routing import Routing, softmax_over_outputs
from tfcaps.routing.scaled_distance import ScaledDistanceRouting
from tfcaps.routing.self_attention import SelfAttentionRouting
from tfcaps.routing.votes import ArrayVotes, DenseVotes, Votes

__all__ = [
    "AgreementRouting",
    "ArrayVotes",
    "DenseVotes",
    "EMRouting",
    "MeanRouting",
    "Routing",
    "ScaledDistanceRouting",
    "SelfAttentionRouting",
    "Votes",
    "get",
    "names",
    "register",
    "serialize",
    "softmax_over_outputs",
]
