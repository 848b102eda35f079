from .configuration import PruningConfig as PruningConfig
from .methods import (
    METHODS as METHODS,
    BlockInfluence as BlockInfluence,
    Candidate as Candidate,
    Exhaustive as Exhaustive,
    GivenLayers as GivenLayers,
    Greedy as Greedy,
    Method as Method,
    MostConflicts as MostConflicts,
    Random as Random,
    Step as Step,
    Top as Top,
    choose as choose,
)
from .pruning import prune_transformer as prune_transformer
from .published_files import (
    LayerFiles as LayerFiles,
    read_choice as read_choice,
    read_order_log as read_order_log,
    read_set_log as read_set_log,
)
from .removals import Removal as Removal, RemovalRecord as RemovalRecord
