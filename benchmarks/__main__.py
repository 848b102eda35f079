"""Prints all measurements, as ratios within this run: absolute times are of this machine."""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The log level comes first.
from benchmarks import (
    abstract_shapes,
    bundle_entropy,
    conv_layer,
    convolution_ways,
    dense_layer,
    serving,
    train_step,
)

if __name__ == "__main__":
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    dense_layer.main(rounds)
    conv_layer.main(rounds)
    train_step.main(rounds)
    convolution_ways.main(rounds)
    convolution_ways.main(rounds, "bfloat16")
    serving.main(rounds)
    bundle_entropy.main(rounds)
    abstract_shapes.main()
