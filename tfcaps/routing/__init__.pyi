from .agreement import AgreementRouting as AgreementRouting
from .em import EMRouting as EMRouting
from .mean import MeanRouting as MeanRouting
from .registry import get as get, names as names, register as register, serialize as serialize
from .routing import Routing as Routing, softmax_over_outputs as softmax_over_outputs
from .scaled_distance import ScaledDistanceRouting as ScaledDistanceRouting
from .self_attention import SelfAttentionRouting as SelfAttentionRouting
from .votes import (
    ArrayVotes as ArrayVotes,
    DenseVotes as DenseVotes,
    OpenVotes as OpenVotes,
    SlotVotes as SlotVotes,
    Votes as Votes,
)
