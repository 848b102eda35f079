from . import (
    datasets as datasets,
    errors as errors,
    evaluation as evaluation,
    experiments as experiments,
    explanation as explanation,
    export as export,
    files as files,
    initializers as initializers,
    layers as layers,
    losses as losses,
    measure as measure,
    metrics as metrics,
    models as models,
    ops as ops,
    optimizers as optimizers,
    plots as plots,
    process as process,
    robustness as robustness,
    routing as routing,
    training as training,
)

__version__: str
