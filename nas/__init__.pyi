from . import layer_pruning as layer_pruning
from .architecture import (
    Architecture as Architecture,
    grow as grow,
    prune as prune,
    widen as widen,
)
from .configuration import SearchConfig as SearchConfig
from .folders import SearchFolder as SearchFolder
from .records import (
    Comparison as Comparison,
    Decision as Decision,
    Proposal as Proposal,
    Record as Record,
    holm as holm,
    lineage as lineage,
)
from .rules import (
    RULES as RULES,
    Bounds as Bounds,
    GrowWhileTraining as GrowWhileTraining,
    Lineages as Lineages,
    PruneAllStages as PruneAllStages,
    PruneConflicts as PruneConflicts,
    PruneFirstStage as PruneFirstStage,
    Rule as Rule,
)
from .search import auto_tune as auto_tune
