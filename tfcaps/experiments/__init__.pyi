from .depth import DepthExperiment as DepthExperiment
from .depth import depth_experiment as depth_experiment
from .experiment import text_table as text_table
from .sign import (
    SignExperiment as SignExperiment,
)
from .sign import (
    count_above as count_above,
)
from .sign import (
    sign_experiment as sign_experiment,
)
