"""Tables of texts: GLUE's tasks in their official files, and any CSV or TSV."""

import csv
import dataclasses
import math
import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tfcaps.datasets import sampling
from tfcaps.datasets.text_dataset import TextDataset, TextExamples
from tfcaps.errors import UsageError

_FILES = {"csv:": ",", "tsv:": "\t"}
# Of a table without a file of its own for it, the part that is the test part, always the same.
_TEST_FRACTION, _TEST_SEED = 0.15, 0
_ENTAILMENT = ("entailment", "not_entailment")
_LARGEST_FIELD = 2**20


@dataclasses.dataclass(frozen=True)
class _Task:
    """How the files of one of GLUE's tasks are to be read.

    Args:
        folder: as the official archive calls it.
        texts: columns of the texts: names in the header, or places where there is none.
        label: column of the label.
        classes: what stands there for each class, in their order; (): a number.
        metric: that the benchmark reports.
        names: of the classes, where what stands there says little.
        test: file of the part with labels that isn't for training.
        bounds: of a number.
        skips: whether official files have broken rows, which are left out.
    """

    folder: str
    texts: tuple[str | int, ...]
    label: str | int
    classes: tuple[str, ...]
    metric: str = "accuracy"
    names: tuple[str, ...] = ()
    test: str = "dev.tsv"
    bounds: tuple[float, float] = (-math.inf, math.inf)
    skips: bool = False


_PAIR = ("sentence1", "sentence2")
_GLUE = {
    "sst2": _Task("SST-2", ("sentence",), "label", ("0", "1"), names=("negative", "positive")),
    "cola": _Task("CoLA", (3,), 1, ("0", "1"), "matthews", ("unacceptable", "acceptable")),
    "mrpc": _Task(
        *("MRPC", ("#1 String", "#2 String"), "Quality", ("0", "1"), "f1"),
        names=("not_equivalent", "equivalent"),
    ),
    "rte": _Task("RTE", _PAIR, "label", _ENTAILMENT),
    "qnli": _Task("QNLI", ("question", "sentence"), "label", _ENTAILMENT),
    "qqp": _Task(
        *("QQP", ("question1", "question2"), "is_duplicate", ("0", "1"), "f1"),
        names=("not_duplicate", "duplicate"),
        skips=True,
    ),
    "mnli": _Task(
        *("MNLI", _PAIR, "gold_label", ("entailment", "neutral", "contradiction")),
        test="dev_matched.tsv",
    ),
    "stsb": _Task("STS-B", _PAIR, "score", (), "spearman", bounds=(0.0, 5.0)),
    "wnli": _Task("WNLI", _PAIR, "label", ("0", "1"), names=("not_entailment", "entailment")),
}

GLUE = tuple(_GLUE)


class _Rows(NamedTuple):
    """What a file has: texts and what stands for labels, with the file's name for messages."""

    path: pathlib.Path
    columns: tuple[str, ...]
    texts: list[list[str]]
    labels: list[str]
    lines: list[int]


def is_text_table(name: str) -> bool:
    """Whether `load_texts` takes the name; its files may be missing all the same.

    >>> is_text_table("SST-2"), is_text_table("csv:my.csv"), is_text_table("mnist")
    (True, True, False)
    """
    return _key(name) in _GLUE or name.startswith(tuple(_FILES))


def load_texts(
    name: str,
    *,
    data_dir: str | os.PathLike | None = None,
    label_column: str = "label",
    text_columns: Sequence[str] = (),
    train_examples: int | None = None,
    validation_fraction: float = 0.15,
    seed: int = 0,
) -> TextDataset:
    """Reads a table of texts.

    Of GLUE's tasks the part that is called dev is the test part, as the labels of its own test part
    are secret; of MNLI the matched one. The scores are those of the benchmark: F1 of class 1 for
    MRPC and QQP, Matthews' correlation for CoLA, Spearman's for STS-B, accuracy for the others.

    A table of another kind has a header; its labels are classes, in the order of numbers or of the
    alphabet, or, where one isn't a whole number, numbers, which Spearman's correlation judges.

    Args:
        name: sst2, cola, mrpc, rte, qnli, qqp, mnli, stsb or wnli; or csv:FILE or tsv:FILE. The
            latter have quotes as CSV files have them, or none at all; of csv:TRAIN,TEST the second
            file is the test part, else 15 % of the rows are, the same for every seed.
        data_dir: folder of the task's train.tsv and dev.tsv, or of GLUE's folders.
        label_column: of csv: and tsv:, which column has the labels. Default "label".
        text_columns: of csv: and tsv:, which ones have the text or the two texts. Default: all
            but the labels'.
        train_examples: so many of a seeded shuffle of the training set; None: all.
        validation_fraction: part of them that is held out, evenly over classes; N examples leave
            int((1 − fraction) · N). Default 0.15.
        seed: of shuffle and part. Default 0.

    Raises:
        UsageError: there is no such task, file or column, or what stands there is no label; the
            message says where.
    """
    if name.startswith(tuple(_FILES)):
        classes, metric, train, test = _read_table(name, label_column, tuple(text_columns))
    else:
        classes, metric, train, test = _read_task(name, data_dir)
    if train_examples is not None:
        train = sampling.subset(train, train_examples, seed=seed)
    validation = None
    if validation_fraction:
        left = int((1 - validation_fraction) * len(train))
        if not 1 <= left < len(train):
            raise UsageError(
                f"Expected --validation_fraction that leaves examples on both sides of {len(train)}"
                f". Received: {validation_fraction}"
            )
        train, validation = _hold_out(train, len(train) - left, seed=seed)
    return TextDataset(name, classes, train, validation, test, metric)


def _hold_out(
    examples: TextExamples, count: int, *, seed: int
) -> tuple[TextExamples, TextExamples]:
    if examples.labels.dtype == np.int64:
        return sampling.hold_out(examples, count, seed=seed)
    # Numbers have no classes: one for all.
    alike = TextExamples(examples.texts, np.zeros(len(examples), np.int64))
    indices = np.arange(len(examples)).astype(object)
    stay, part = sampling.hold_out(dataclasses.replace(alike, texts=(indices,)), count, seed=seed)
    return examples.take(stay.texts[0].astype(int)), examples.take(part.texts[0].astype(int))


def _key(name: str) -> str:
    return name.lower().replace("-", "")


class _Tabs(csv.excel_tab):
    """Tabs between columns, and quotes that mean nothing."""

    quoting = csv.QUOTE_NONE


def _read_task(
    name: str, data_dir: str | os.PathLike | None
) -> tuple[tuple[str, ...], str, TextExamples, TextExamples]:
    if _key(name) not in _GLUE:
        raise UsageError(
            f"Expected one of {', '.join(_GLUE)}, csv:FILE or tsv:FILE. Received: {name}"
        )
    task = _GLUE[_key(name)]
    folder = _folder(name, task, data_dir)
    train = _read(folder / "train.tsv", "\t", task.texts, task.label, skips=task.skips)
    test = _read(folder / task.test, "\t", task.texts, task.label, skips=task.skips)
    to_labels = _numbers(task.bounds) if not task.classes else _indices(task.classes)
    examples, others = _examples(train, to_labels), _examples(test, to_labels)
    if task.classes:
        _expect_classes(train, examples, task.classes)
    return task.names or task.classes, task.metric, examples, others


def _folder(name: str, task: _Task, data_dir: str | os.PathLike | None) -> pathlib.Path:
    if data_dir is None:
        raise UsageError(
            f"Expected the folder of {task.folder}'s train.tsv and {task.test} for {name}. "
            "Received: no --data_dir"
        )
    own = pathlib.Path(data_dir)
    folder = own / task.folder if (own / task.folder).is_dir() else own
    if not (folder / "train.tsv").is_file():
        raise UsageError(
            f"Expected train.tsv and {task.test} of {task.folder}. "
            f"Received: {own}, which has neither train.tsv nor a folder {task.folder} with it"
        )
    return folder


def _read_table(
    name: str, label_column: str, text_columns: tuple[str, ...]
) -> tuple[tuple[str, ...], str, TextExamples, TextExamples]:
    prefix = name[:4]
    paths = [pathlib.Path(part) for part in name.removeprefix(prefix).split(",")]
    if len(paths) > 2 or not all(path.name for path in paths):
        raise UsageError(f"Expected {prefix}FILE or {prefix}TRAIN,TEST. Received: {name}")
    tables = []
    for path in paths:
        # All files have the same columns.
        columns = tables[0].columns if tables else text_columns
        tables.append(_read(path, _FILES[prefix], columns, label_column))
    classes, to_labels = _classes(tables[0])
    parts = [_examples(rows, to_labels) for rows in tables]
    if classes:
        _expect_classes(tables[0], parts[0], classes)
    if len(parts) == 1:
        size = len(parts[0])
        count = max(1, round(_TEST_FRACTION * size))
        if size < 2:
            raise UsageError(f"Expected at least two rows. Received: {paths[0]}, which has {size}")
        parts = list(_hold_out(parts[0], count, seed=_TEST_SEED))
    return classes, "accuracy" if classes else "spearman", parts[0], parts[1]


def _read(
    path: pathlib.Path,
    delimiter: str,
    texts: Sequence[str | int],
    label: str | int,
    *,
    skips: bool = False,
) -> _Rows:
    """The texts and labels of a file; columns are found by the header, unless they are places."""
    csv.field_size_limit(_LARGEST_FIELD)

    def wrong(what: str) -> UsageError:
        return UsageError(f"Expected a table of texts. Received: {path}, {what}")

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, _Tabs if delimiter == "\t" else csv.excel)
            numbered = [(reader.line_num, row) for row in reader if row]
    except FileNotFoundError:
        raise UsageError(
            f"Expected a table of texts. Received: {path}, which doesn't exist"
        ) from None
    except IsADirectoryError:
        raise UsageError(
            f"Expected a table of texts. Received: {path}, which is a folder"
        ) from None
    except UnicodeDecodeError:
        raise wrong("which isn't in UTF-8") from None
    except csv.Error as error:
        raise wrong(f"where {error}") from None
    has_header = isinstance(label, str)
    header = numbered.pop(0)[1] if has_header and numbered else []
    # Without a header, columns are known by their places.
    places = _places(path, header, texts, label) if has_header else [*map(int, (*texts, label))]
    if not numbered:
        raise UsageError(f"Expected a table with rows. Received: {path}, which has none")
    columns = tuple(header[place] for place in places[:-1]) if header else ()
    rows = _Rows(path, columns, [], [], [])
    short = 0
    for line, row in numbered:
        # A row that is longer than the header has had a delimiter in a text.
        if len(row) <= max(places) or (header and len(row) > len(header)):
            short += 1
            if skips:
                continue
            raise UsageError(
                f"Expected {len(header) or max(places) + 1} columns. "
                f"Received: {len(row)} in line {line} of {path}"
            )
        rows.texts.append([row[place] for place in places[:-1]])
        rows.labels.append(row[places[-1]].strip())
        rows.lines.append(line)
    if short:
        print(
            f"{short} rows of {path} have another number of columns, and are left out.",
            file=sys.stderr,
        )
    return rows


def _places(
    path: pathlib.Path, header: list[str], texts: Sequence[str | int], label: str | int
) -> list[int]:
    wanted = [*(texts or (name for name in header if name != label)), label]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise UsageError(
            f"Expected a column {missing[0]!r}. Received: {path}, whose columns are "
            f"{', '.join(header)[:200] or 'none'}"
        )
    if not 2 <= len(wanted) <= 3:
        raise UsageError(
            f"Expected --text_columns with the one or two columns of texts. Received: {path}, "
            f"which has {len(wanted) - 1} beside {label!r}"
        )
    return [header.index(str(name)) for name in wanted]


def _classes(rows: _Rows) -> tuple[tuple[str, ...], Callable[[_Rows], np.ndarray]]:
    """The classes of a table's labels, none where they are numbers, and what reads labels."""
    found = set(rows.labels)
    numbers = {text: _number(text) for text in found}
    if None not in numbers.values():
        if not all(float(value or 0).is_integer() for value in numbers.values()):
            return (), _numbers((-math.inf, math.inf))
        classes = tuple(sorted(found, key=lambda text: (numbers[text] or 0.0, text)))
    else:
        classes = tuple(sorted(found))
    return classes, _indices(classes)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _numbers(bounds: tuple[float, float]) -> Callable[[_Rows], np.ndarray]:
    low, high = bounds

    def read(rows: _Rows) -> np.ndarray:
        values = []
        for text, line in zip(rows.labels, rows.lines, strict=True):
            value = _number(text)
            if value is None or not low <= value <= high:
                allowed = f"from {low:g} to {high:g}" if math.isfinite(low) else ""
                raise UsageError(
                    f"Expected numbers {allowed} as labels. "
                    f"Received: {text[:40]!r} in line {line} of {rows.path}".replace("  ", " ")
                )
            values.append(value)
        return np.array(values, np.float32)

    return read


def _indices(classes: tuple[str, ...]) -> Callable[[_Rows], np.ndarray]:
    known = {text: index for index, text in enumerate(classes)}

    def read(rows: _Rows) -> np.ndarray:
        for text, line in zip(rows.labels, rows.lines, strict=True):
            if text not in known:
                raise UsageError(
                    f"Expected one of {', '.join(classes)[:200]} as label. "
                    f"Received: {text[:40]!r} in line {line} of {rows.path}"
                )
        return np.array([known[text] for text in rows.labels], np.int64)

    return read


def _examples(rows: _Rows, to_labels: Callable[[_Rows], np.ndarray]) -> TextExamples:
    labels = to_labels(rows)
    columns = zip(*rows.texts, strict=True)
    return TextExamples(tuple(_strings(column) for column in columns), labels)


def _strings(values: Sequence[str]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _expect_classes(rows: _Rows, examples: TextExamples, classes: Sequence[str]) -> None:
    there = np.unique(examples.labels)
    if len(there) < 2:
        only = classes[there[0]]
        raise UsageError(
            f"Expected at least two classes. Received: {rows.path}, which has {only!r} only"
        )
