"""Images a second of each abstract task, 128×128, in one process."""

import time

from tfcaps.datasets import abstract_shapes

IMAGES = 1024
# Images a second of the original C++ program, one core, as its page says, not measured again.
_CPP = (
    *(3415, 359, 45, 917, 9203, 3223, 9704, 328, 1936, 9932, 149, 138, 109, 23425, 3610),
    *(20990, 17743, 19681, 3256, 10317, 3132, 12263, 741),
)
CPP = {f"svrt_{number}": rate for number, rate in enumerate(_CPP, 1)}


def main() -> None:
    print(f"Abstract tasks, {IMAGES} images of 128×128, processor time")
    print(f"{'':22}{'C++':>10}{'tfcaps':>12}")
    for task in abstract_shapes.names():
        abstract_shapes.generate(task, IMAGES // 8)
        start = time.process_time()
        abstract_shapes.generate(task, IMAGES)
        rate = IMAGES / (time.process_time() - start)
        original = f"{CPP[task]}/s" if task in CPP else ""
        print(f"{task:22}{original:>10}{rate:10.0f}/s", flush=True)
