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

# Of a table without a file of its own for it, the part that is the test part, always the same.
_TEST_FRACTION, _TEST_SEED = 0.15, 0
_LARGEST_NUMBER = float(np.finfo(np.float32).max)
_ENTAILMENT = ("entailment", "not_entailment")


class _Commas(csv.excel):
    """RFC 4180: a quote that isn't closed would silently take all other rows into its field."""

    strict = True


class _Tabs(csv.excel_tab):
    """Tabs between columns, and quotes that mean nothing."""

    quoting = csv.QUOTE_NONE


_FILES = {"csv:": _Commas, "tsv:": _Tabs}


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
_MNLI = _Task(
    *("MNLI", _PAIR, "gold_label", ("entailment", "neutral", "contradiction")),
    test="dev_matched.tsv",
)
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
    "mnli": _MNLI,
    "mnlimm": dataclasses.replace(_MNLI, test="dev_mismatched.tsv"),
    "stsb": _Task("STS-B", _PAIR, "score", (), "spearman", bounds=(0.0, 5.0)),
    "wnli": _Task("WNLI", _PAIR, "label", ("0", "1"), names=("not_entailment", "entailment")),
}

GLUE = tuple(_GLUE)


class _Rows(NamedTuple):
    """What a file has: of each row the texts, the label as it stands there, and the line.

    `columns` are the names of the texts' columns, where there is a header.
    """

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
    r"""Reads a table of texts.

    Of GLUE's tasks the part that is called dev is the test part, as the labels of its own test part
    are secret; of MNLI the matched one, of mnlimm the mismatched one. The scores are those of the
    benchmark: F1 of class 1 for MRPC and QQP, Matthews' correlation for CoLA, Spearman's for STS-B,
    accuracy for the others.

    Any other table has a header. Where one of its labels is a number that isn't whole, all of them
    are numbers, and Spearman's correlation is the score; else they are classes, in the order of
    numbers or of the alphabet, and accuracy is.

    Args:
        name: sst2, cola, mrpc, rte, qnli, qqp, mnli, mnlimm, stsb or wnli, in any spelling with
            capitals and hyphens; or csv:FILE, with quotes as in RFC 4180, or tsv:FILE, where
            quotes mean nothing. Of csv:TRAIN,TEST the second file is the test part; of one file
            15 % of the rows are, the same for every seed.
        data_dir: folder of the task's train.tsv and dev.tsv, or of GLUE's folders.
        label_column: of csv: and tsv:, which column has the labels. Default "label".
        text_columns: of csv: and tsv:, which ones have the text or the two texts. Default: all
            but the labels'.
        train_examples: so many of a seeded shuffle of the training set; None: all.
        validation_fraction: part of them that is held out, evenly over classes, in [0, 1); of N
            examples ⌊(1 − fraction) · N⌋ stay. Default 0.15, as published.
        seed: of shuffle and part, 0 to 2^63 - 1. Default 0.

    Raises:
        UsageError: there is no such task, file or column, what stands there is no label, or an
            argument is out of its range; the message says where.

    Example:

    >>> import pathlib, tempfile
    >>> from tfcaps import datasets
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder, "reviews.csv")
    ...     _ = table.write_text("text,label\n" + "fine,good\nawful,bad\n" * 10)
    ...     reviews = datasets.load_texts(f"csv:{table}", validation_fraction=0)
    >>> reviews.class_names, len(reviews.train), len(reviews.test), reviews.metric
    (('bad', 'good'), 17, 3, 'accuracy')
    >>> reviews.train.texts[0][0], reviews.train.labels[0]
    ('fine', np.int64(1))

    Source: the defaults are those of Peer et al., arXiv 2105.14839; the scores those of GLUE, Wang
    et al., arXiv 1804.07461.
    """
    sampling.check_choices(train_examples, validation_fraction, seed)
    if name.startswith(tuple(_FILES)):
        classes, metric, train, test = _read_table(name, label_column, tuple(text_columns))
    else:
        classes, metric, train, test = _read_task(name, data_dir)
    if train_examples is not None:
        train = sampling.subset(train, train_examples, seed=seed)
    validation = None
    if validation_fraction:
        # Rounded, as (1 - 0.9) * 10 is a little below 1.
        left = int(round((1 - validation_fraction) * len(train), 6))
        if not 1 <= left < len(train):
            raise UsageError(
                "Expected a validation_fraction that leaves at least one example for training "
                f"and one for validation. Received: {validation_fraction} of {len(train)}"
            )
        train, validation = _hold_out(train, len(train) - left, seed=seed)
    return TextDataset(name, classes, train, validation, test, metric)


def _hold_out(
    examples: TextExamples, count: int, *, seed: int
) -> tuple[TextExamples, TextExamples]:
    is_classes = examples.labels.dtype == np.int64
    return sampling.hold_out(examples, count, seed=seed, stratified=is_classes)


def _key(name: str) -> str:
    return name.lower().replace("-", "")


def _read_task(
    name: str, data_dir: str | os.PathLike | None
) -> tuple[tuple[str, ...], str, TextExamples, TextExamples]:
    if _key(name) not in _GLUE:
        raise UsageError(
            f"Expected one of {', '.join(_GLUE)}, csv:FILE or tsv:FILE. Received: {name}"
        )
    task = _GLUE[_key(name)]
    folder = _folder(name, task, data_dir)
    tables = [
        _read(folder / file, _Tabs, task.texts, task.label, skips=task.skips)
        for file in ("train.tsv", task.test)
    ]
    to_labels = _indices(task.classes) if task.classes else _numbers(task.bounds)
    train, test = (_examples(rows, to_labels) for rows in tables)
    _expect_labels(tables, task.classes)
    return task.names or task.classes, task.metric, train, test


def _folder(name: str, task: _Task, data_dir: str | os.PathLike | None) -> pathlib.Path:
    if data_dir is None:
        raise UsageError(
            f"Expected the folder of {task.folder}'s train.tsv and {task.test} for {name}. "
            "Received: no --data_dir"
        )
    own = pathlib.Path(data_dir).expanduser()
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
    paths = [pathlib.Path(part).expanduser() for part in name.removeprefix(prefix).split(",")]
    if len(paths) > 2 or not all(path.name for path in paths):
        raise UsageError(f"Expected {prefix}FILE or {prefix}TRAIN,TEST. Received: {name}")
    tables = []
    for path in paths:
        # All files have the same columns.
        columns = tables[0].columns if tables else text_columns
        # Nothing else would tell that a column has been forgotten in a row.
        tables.append(_read(path, _FILES[prefix], columns, label_column, exact=True))
    classes, to_labels = _classes(tables[0])
    parts = [_examples(rows, to_labels) for rows in tables]
    _expect_labels(tables, classes)
    if len(parts) == 1:
        count = max(1, round(_TEST_FRACTION * len(parts[0])))
        parts = list(_hold_out(parts[0], count, seed=_TEST_SEED))
    return classes, "accuracy" if classes else "spearman", parts[0], parts[1]


def _read(
    path: pathlib.Path,
    dialect: type[csv.Dialect],
    texts: Sequence[str | int],
    label: str | int,
    *,
    skips: bool = False,
    exact: bool = False,
) -> _Rows:
    """The texts and labels of a file.

    Args:
        path: of the file.
        dialect: of its delimiters and quotes.
        texts: names of the texts' columns, all but the label's if there are none; or their places,
            in a file without a header.
        label: name or place of the label's column.
        skips: whether a row with a wrong number of columns is left out, and not refused.
        exact: whether columns after those that are read have to be there, too.
    """
    numbered = _lines(path, dialect)
    has_header = isinstance(label, str)
    header = numbered.pop(0)[1] if has_header and numbered else []
    # Without a header, columns are known by their places.
    places = _places(path, header, texts, label) if has_header else [*map(int, (*texts, label))]
    width = len(header) or max(places) + 1
    least = width if exact else max(places) + 1
    columns = tuple(header[place] for place in places[:-1]) if header else ()
    rows = _Rows(path, columns, [], [], [])
    broken = 0
    for line, row in numbered:
        # A row that is longer than the header has had a delimiter in a text.
        if not least <= len(row) <= width:
            broken += 1
            if skips:
                continue
            raise UsageError(
                f"Expected {width} columns. Received: {len(row)} in line {line} of {path}"
            )
        rows.texts.append([row[place] for place in places[:-1]])
        rows.labels.append(row[places[-1]].strip())
        rows.lines.append(line)
        if not rows.labels[-1]:
            raise UsageError(
                f"Expected a label in each row. Received: none in line {line} of {path}"
            )
    if not rows.labels:
        raise UsageError(f"Expected a table with rows. Received: {path}, which has none")
    if broken:
        print(
            f"{broken} rows of {path} have another number of columns, and are left out.",
            file=sys.stderr,
        )
    return rows


def _lines(path: pathlib.Path, dialect: type[csv.Dialect]) -> list[tuple[int, list[str]]]:
    """The rows of a file that aren't empty, each with the number of the line in which it ends."""

    def wrong(what: str) -> UsageError:
        return UsageError(f"Expected a table of texts. Received: {path}, {what}")

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, dialect)
            try:
                return [(reader.line_num, row) for row in reader if row]
            except csv.Error as error:
                raise wrong(f"in line {reader.line_num} of which: {error}") from None
    except FileNotFoundError:
        raise wrong("which doesn't exist") from None
    except IsADirectoryError:
        raise wrong("which is a folder") from None
    except OSError as error:
        raise wrong(f"which can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise wrong("which isn't in UTF-8") from None


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
    for name in wanted:
        if wanted.count(name) > 1 or header.count(str(name)) > 1:
            raise UsageError(
                f"Expected columns that differ for text and label. Received: {name!r} twice, of "
                f"{path}, whose columns are {', '.join(header)[:200]}"
            )
    return [header.index(str(name)) for name in wanted]


def _classes(rows: _Rows) -> tuple[tuple[str, ...], Callable[[_Rows], np.ndarray]]:
    """The classes of a table's labels, none where they are numbers, and what reads labels."""
    numbers = {text: _number(text) for text in rows.labels}
    if not all(value is None or value.is_integer() for value in numbers.values()):
        return (), _numbers((-math.inf, math.inf))

    def place(text: str) -> tuple[float, str]:
        value = numbers[text]
        # Names come after numbers.
        return math.inf if value is None else value, text

    classes = tuple(sorted(numbers, key=place))
    return classes, _indices(classes)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) <= _LARGEST_NUMBER else None


def _numbers(bounds: tuple[float, float]) -> Callable[[_Rows], np.ndarray]:
    low, high = bounds

    def read(rows: _Rows) -> np.ndarray:
        values = []
        for text, line in zip(rows.labels, rows.lines, strict=True):
            value = _number(text)
            if value is None or not low <= value <= high:
                allowed = f" from {low:g} to {high:g}" if math.isfinite(low) else ""
                raise UsageError(
                    f"Expected numbers{allowed} as labels. "
                    f"Received: {text[:40]!r} in line {line} of {rows.path}"
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


def _expect_labels(tables: Sequence[_Rows], classes: tuple[str, ...]) -> None:
    """Refuses a first table from which the labels, or those of the second, can't be learned."""
    train, known = tables[0], set(tables[0].labels)
    if len(known) < 2:
        raise UsageError(
            f"Expected at least two {'classes' if classes else 'different labels'}. "
            f"Received: {train.path}, which has {train.labels[0]!r} only"
        )
    if not classes:
        return
    for rows in tables[1:]:
        for text, line in zip(rows.labels, rows.lines, strict=True):
            if text not in known:
                raise UsageError(
                    f"Expected a class that {train.path} has, too. "
                    f"Received: {text[:40]!r} in line {line} of {rows.path}"
                )
