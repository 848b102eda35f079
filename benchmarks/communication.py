"""What data-parallel machines have to send each other a step, and when more of them stop paying.

python -m benchmarks.communication
"""

# Of a gradient in float32, as variables are under mixed precision, too.
BYTES = 4
# Weights, and what a training step computes, forward and backward, in GFLOP: the published CapsNet
# (--layers=32,10) by its convolutions, batch 32 (docs/performance.md); the residual network of 120
# layers, 2.204 GFLOP an image (docs/results.md), three times that for a step, batch 64.
NETWORKS = {
    "CapsNet, 8.2 million": (8.2e6, 36.0),
    "ResNet, 65 million": (65e6, 3 * 2.204 * 64),
}
# What a device makes of it, in TFLOP/s: two virtual cores (36 GFLOP in 281 ms, docs/performance.md)
# and two guesses of an accelerator.
DEVICES = (0.13, 10.0, 50.0)
GIGABITS = (1, 10, 100)
MACHINES = (2, 4, 8, 16, 64)


def sent(parameters: float, machines: int) -> float:
    """Bytes that each machine sends in a step; it receives as many.

    In a ring each part of the gradient goes round once to be added up and once to be handed out,
    (n − 1)/n of it each time, which no other way undercuts.
    """
    return 2 * (machines - 1) / machines * BYTES * parameters


def seconds(step: float, parameters: float, gigabits: float, machines: int) -> float:
    """A step of one batch that n machines share, if nothing is sent while they compute."""
    return step / machines + 8 * sent(parameters, machines) / (gigabits * 1e9)


def worth_half(step: float, parameters: float, gigabits: float) -> float:
    """With so many machines half of each one's time goes into waiting.

    With C = 2·4·P bytes over the link, a step takes C + (T − C)/n: n machines are worth
    T/(C + (T − C)/n), which is n/2 at n = 1 + T/C, and never more than T/C.
    """
    return 1 + step / (8 * 2 * BYTES * parameters / (gigabits * 1e9))


def main() -> None:
    """Prints both tables."""
    print("MB that each machine sends a step")
    print(f"{'machines':24}" + "".join(f"{n:>9}" for n in MACHINES))
    for name, (parameters, _) in NETWORKS.items():
        row = "".join(f"{sent(parameters, n) / 1e6:9.1f}" for n in MACHINES)
        print(f"{name:24}{row}")
    print("\nMachines of which each one waits half of its time, by the network in Gbit/s")
    print(f"{'TFLOP/s, step alone':48}" + "".join(f"{gigabits:>9}" for gigabits in GIGABITS))
    for name, (parameters, work) in NETWORKS.items():
        for speed in DEVICES:
            step = work / 1e3 / speed
            row = "".join(f"{worth_half(step, parameters, g):9.1f}" for g in GIGABITS)
            print(f"{name:24}{speed:8.2f}{1e3 * step:12.1f} ms {row}")


if __name__ == "__main__":
    main()
