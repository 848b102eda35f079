from .block_networks import (
    BlockNetworkConfig as BlockNetworkConfig,
    BlockNetworkTask as BlockNetworkTask,
)
from .capsule_networks import (
    CapsuleNetworkConfig as CapsuleNetworkConfig,
    CapsuleNetworkTask as CapsuleNetworkTask,
)
from .configuration import (
    KINDS as KINDS,
    ExportOptions as ExportOptions,
    FinishedRunOptions as FinishedRunOptions,
    Repetitions as Repetitions,
    RunConfig as RunConfig,
)
from .image_classifiers import (
    ImageClassifierConfig as ImageClassifierConfig,
    ImageClassifierTask as ImageClassifierTask,
)
from .image_task import ImageTask as ImageTask
from .loop import (
    Session as Session,
    start as start,
    surroundings as surroundings,
    train as train,
    train_several as train_several,
)
from .pretrained_networks import (
    PretrainedNetworkConfig as PretrainedNetworkConfig,
    PretrainedNetworkTask as PretrainedNetworkTask,
)
from .run import Run as Run, export_run as export_run, load_run as load_run
from .run_directory import RunDirectory as RunDirectory
from .task import Data as Data, Examples as Examples, Task as Task
from .text_classifiers import (
    TextClassifierConfig as TextClassifierConfig,
    TextClassifierTask as TextClassifierTask,
)
