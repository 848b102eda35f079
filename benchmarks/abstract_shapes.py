"""Images a second of each abstract task, 128×128, in one process."""

import time

from tfcaps.datasets import abstract_shapes

IMAGES = 1024
# Images a second of the original C++ program, one core, as its page says, not measured again.
CPP = dict(
    zip(
        abstract_shapes.names(),
        (
            *(3415, 359, 45, 917, 9203, 3223, 9704, 328, 1936, 9932, 149, 138, 109, 23425, 3610),
            *(20990, 17743, 19681, 3256, 10317, 3132, 12263, 741),
        ),
        strict=True,
    )
)


def main() -> None:
    print(f"Abstract tasks, {IMAGES} images of 128×128, processor time")
    print(f"{'':8}{'C++':>10}{'tfcaps':>12}")
    for task, original in CPP.items():
        abstract_shapes.generate(task, IMAGES // 8)
        start = time.process_time()
        abstract_shapes.generate(task, IMAGES)
        rate = IMAGES / (time.process_time() - start)
        print(f"{task:8}{original:8}/s{rate:10.0f}/s", flush=True)
