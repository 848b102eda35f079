from .depth import DepthExperiment as DepthExperiment, depth_experiment as depth_experiment
from .experiment import text_table as text_table
from .sign import (
    SignExperiment as SignExperiment,
    count_above as count_above,
    sign_experiment as sign_experiment,
)
