"""Labels in and out: tables, and class folders that every training here reads."""

import csv
import os
import pathlib
import shutil
import uuid
from collections.abc import Collection

from tfcaps import files
from tfcaps.errors import UsageError
from tfcaps.labeling.pool import LABEL, Click, Pool, Snapshot


def import_labels(pool: Pool, path: str | os.PathLike) -> int:
    """Records the labels of a CSV file with the columns image and label; gives how many.

    Raises:
        UsageError: the file can't be read, or has another image or class, or two classes for one
            image. Nothing is recorded.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error):
        raise UsageError(f"Expected --import_labels with a CSV file. Received: {path}") from None
    if not rows or not {"image", "label"} <= rows[0].keys():
        raise UsageError(f"Expected a CSV file with the columns image and label. Received: {path}")
    numbers = {name: number for number, name in pool.names.items()}
    clicks, labels = [], {row["image"]: row["label"] for row in rows}
    for row in rows:
        if row["image"] not in numbers:
            raise UsageError(
                f"Expected labels of images in --images. Received: {row['image']} in {path}"
            )
        image, label = numbers[row["image"]], row["label"]
        if label != labels[row["image"]]:
            raise UsageError(
                f"Expected one label of each image. Received: {label} and {labels[row['image']]} "
                f"for {row['image']} in {path}"
            )
        before = pool.decision(image)
        if before is None or before.label != label:
            clicks.append(Click(f"import-{uuid.uuid4()}", LABEL, "import", image, label))
    pool.record(clicks)
    return len(clicks)


def export_labels(pool: Pool, root: str | os.PathLike, target: str | os.PathLike) -> int:
    """As `write_labels`, of what a pool knows now.

    Raises:
        UsageError: as there.
    """
    return write_labels(pool.snapshot(), root, target)


def write_labels(
    known: Snapshot,
    root: str | os.PathLike,
    target: str | os.PathLike,
    tests: Collection[int] = (),
) -> int:
    """Writes labels.csv, decisions.csv and a folder of images for each class; gives how many.

    `--dataset=images:TARGET/images` is then a data set of all trainings. Images are copied, or
    linked on the disk that holds them already; they come to lie under their number and name.

    Args:
        known: of the pool.
        root: of the images.
        target: a new folder.
        tests: images that are to be the data set's test images. Default: a part that is chosen
            when it is read.

    Raises:
        UsageError: there is something at the target, or no image with a label is left.
    """
    target = pathlib.Path(target)
    if target.exists():
        raise UsageError(f"Expected --export with a new folder. Received: {target}, which exists")
    labels = known.labels
    there = there_of(known, root)
    if not there:
        raise UsageError(
            f"Expected labels of images that are there. Received: {len(labels)} labels, and none "
            f"of their images in {root}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.whole_folder(target) as folder:
        folder.mkdir()
        rows = [{"image": known.names[image], "label": labels[image]} for image in sorted(labels)]
        files.write_csv(folder / "labels.csv", rows)
        files.write_csv(folder / "decisions.csv", known.log())
        for image, label in there.items():
            source = pathlib.Path(root, known.names[image])
            part = ("test" if image in tests else "train") if tests else ""
            place = folder / "images" / part / label / f"{image}-{source.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, place)
            except OSError:  # another disk
                shutil.copyfile(source, place)
    return len(there)


def there_of(known: Snapshot, root: str | os.PathLike) -> dict[int, str]:
    """The labels of the images whose files are there."""
    return {
        image: label
        for image, label in known.labels.items()
        if pathlib.Path(root, known.names[image]).is_file()
    }
