"""How well the classes of abstract tasks are told from what should not tell them.

    python -m benchmarks.abstract_leaks runs/leaks.csv

draws images of each task, and classifies them by logistic regression and by a random forest, on
32×32 pixels and on statistics: ink, bounding box, mean and spread of all but the background, and,
over the components, their number, and their sorted ink, heights and widths. One line a task, with
95 % intervals; tasks that stand in the file already are left out. It needs scikit-learn (extra
`labeling` or `test`).
"""

import argparse
import csv
import pathlib

import numpy as np
from scipy import ndimage
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tfcaps import files
from tfcaps.datasets import abstract_shapes

IMAGES = 1500
_MOST = 6  # components that are looked at, the largest first
_LEARNED = 0.6
_EIGHT_NEIGHBOURS = np.ones((3, 3), int)
_Z = 1.96  # 95 % of a normal distribution
COLUMNS = ("linear_pixels", "forest_pixels", "linear_statistics", "forest_statistics")


def statistics(images: np.ndarray) -> np.ndarray:
    """What can be counted in images (n, h, w, 1) without seeing a relation, (n, F)."""
    return np.array([_of_image(image[..., 0] != _background(image)) for image in images])


def _background(image: np.ndarray) -> int:
    return int(np.bincount(image.ravel()).argmax())


def _of_image(ink: np.ndarray) -> list[float]:
    y, x = np.nonzero(ink)
    parts, count = ndimage.label(ink, _EIGHT_NEIGHBOURS)
    inks = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    boxes = [[part.stop - part.start for part in box] for box in ndimage.find_objects(parts)]
    heights, widths = np.array(boxes).T
    features = [len(x), x.min(), x.max(), y.min(), y.max(), np.ptp(x), np.ptp(y)]
    features += [x.mean(), y.mean(), x.std(), y.std(), count]
    for each in (inks, heights, widths):
        largest = np.sort(each)[::-1][:_MOST]
        features += [*largest, *np.zeros(_MOST - len(largest))]
        # Differences of neighbours: two of them are equal where two shapes have the same number.
        features += [*-np.diff(largest), *np.zeros(_MOST - len(largest))]
    return features


def pixels(images: np.ndarray) -> np.ndarray:
    """Ink in each of 32×32 fields, (n, 1024)."""
    n, size = images.shape[:2]
    return images.reshape(n, 32, size // 32, 32, size // 32).mean((2, 4)).reshape(n, -1) / 255


def accuracies(task: str, count: int) -> dict[str, float]:
    """The accuracies of the four classifiers on held-out images."""
    split = abstract_shapes.generate(task, count, seed=1)
    learned = round(_LEARNED * count)
    result = {}
    for name, features in (("pixels", pixels), ("statistics", statistics)):
        x, y = features(split.images), split.labels
        for kind, classifier in (
            ("linear", LogisticRegression(C=0.1, max_iter=2000)),
            ("forest", RandomForestClassifier(200, random_state=0)),
        ):
            model = make_pipeline(StandardScaler(), classifier)
            model.fit(x[:learned], y[:learned])
            result[f"{kind}_{name}"] = float(model.score(x[learned:], y[learned:]))
    return result


def interval(accuracy: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an accuracy on so many images."""
    middle = (accuracy + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count)
    half *= np.sqrt(accuracy * (1 - accuracy) / count + _Z**2 / (4 * count**2))
    return float(middle - half), float(middle + half)


def table(rows: list[dict[str, str]]) -> str:
    """The rows as a table of a page, with half of the widest interval."""
    lines = ["| task | " + " | ".join(name.replace("_", ", ") for name in COLUMNS) + " |"]
    lines.append("|---" * (len(COLUMNS) + 1) + "|")
    for row in rows:
        cells = []
        for name in COLUMNS:
            low, high = interval(float(row[name]), int(row["tested"]))
            text = f"{float(row[name]):.2f} ({low:.2f}–{high:.2f})"
            cells.append(text if low <= 0.5 else f"**{text}**")
        lines.append(f"| {row['task']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=pathlib.Path, help="where the numbers are kept, .csv")
    parser.add_argument("tasks", nargs="*", default=abstract_shapes.names(), help="all if none")
    parser.add_argument("--images", type=int, default=IMAGES, help="of each task")
    arguments = parser.parse_args()
    rows: list[dict[str, str]] = []
    if arguments.path.exists():
        with arguments.path.open() as lines:
            rows = list(csv.DictReader(lines))
    known = {row["task"] for row in rows}
    for task in arguments.tasks:
        if task in known:
            continue
        found = accuracies(task, arguments.images)
        tested = arguments.images - round(_LEARNED * arguments.images)
        rows.append({"task": task, "tested": str(tested), **{k: str(v) for k, v in found.items()}})
        files.write_csv(arguments.path, rows)
        print(rows[-1], flush=True)
    order = list(abstract_shapes.names())
    print(table(sorted(rows, key=lambda row: order.index(row["task"]))))


if __name__ == "__main__":
    main()
