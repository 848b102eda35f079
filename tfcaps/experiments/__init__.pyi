from .abstract_classes import abstract_class_experiment as abstract_class_experiment
from .abstract_configuration import (
    AbstractClassExperiment as AbstractClassExperiment,
    Training as Training,
)
from .abstract_report import efficiency_rows as efficiency_rows, size_rows as size_rows
from .depth import (
    Cell as Cell,
    DepthExperiment as DepthExperiment,
    depth_experiment as depth_experiment,
    summarize as summarize,
)
from .experiment import text_table as text_table
from .sign import (
    SignExperiment as SignExperiment,
    count_above as count_above,
    sign_experiment as sign_experiment,
)
