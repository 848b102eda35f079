from . import (
    datasets as datasets,
)
from . import (
    errors as errors,
)
from . import (
    evaluation as evaluation,
)
from . import (
    experiments as experiments,
)
from . import (
    explanation as explanation,
)
from . import (
    export as export,
)
from . import (
    files as files,
)
from . import (
    initializers as initializers,
)
from . import (
    layers as layers,
)
from . import (
    losses as losses,
)
from . import (
    measure as measure,
)
from . import (
    metrics as metrics,
)
from . import (
    models as models,
)
from . import (
    ops as ops,
)
from . import (
    optimizers as optimizers,
)
from . import (
    options as options,
)
from . import (
    plots as plots,
)
from . import (
    process as process,
)
from . import (
    program as program,
)
from . import (
    registry as registry,
)
from . import (
    robustness as robustness,
)
from . import (
    routing as routing,
)
from . import (
    training as training,
)

__version__: str
