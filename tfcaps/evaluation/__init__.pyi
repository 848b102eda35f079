from .attack import accuracy_under_attack as accuracy_under_attack, attack_table as attack_table
from .branches import BranchSwitches as BranchSwitches, Verdicts as Verdicts
from .lesion import (
    Curve as Curve,
    divide_blocks as divide_blocks,
    draw_blocks as draw_blocks,
    lesion_study as lesion_study,
    lesion_table as lesion_table,
)
from .options import EvaluationOptions as EvaluationOptions, LesionOptions as LesionOptions
from .report import evaluate as evaluate, table as table
from .subject import Subject as Subject, load_subject as load_subject
