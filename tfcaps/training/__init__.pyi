from .blocks import BlockNetworkConfig as BlockNetworkConfig
from .capsules import CapsuleNetworkConfig as CapsuleNetworkConfig, build_model as build_model
from .configuration import RunConfig as RunConfig
from .run import Run as Run, load_run as load_run
from .run_directory import RunDirectory as RunDirectory
from .train import train as train, train_several as train_several
