"""The fine-tuning of pretrained text encoders: any table of texts, classes or one number."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcaps import datasets, metrics, models, plots
from tfcaps.errors import UsageError
from tfcaps.options import option
from tfcaps.training import fine_tuning
from tfcaps.training.configuration import KINDS
from tfcaps.training.fine_tuning import FineTuningConfig
from tfcaps.training.task import Task

if TYPE_CHECKING:
    import keras
    import numpy as np
    import tensorflow as tf

# Batches are as long as a multiple of this: few lengths, and rows of vectors that fill a register.
_LENGTH_STEP = 16
# Batches whose examples are sorted by length together.
_SORTED_BATCHES = 50
_POOLINGS = ("auto", "first", "mean")


@KINDS.register("text_classifier")
@dataclasses.dataclass(frozen=True, kw_only=True)
class TextClassifierConfig(FineTuningConfig):
    """All choices of one fine-tuning of a text encoder; a field is the flag of the same name.

    Raises:
        UsageError: a value is out of its range.
    """

    dataset: str = option(
        "sst2, cola, mrpc, rte, qnli, qqp, mnli, stsb or wnli of GLUE, or csv:FILE or tsv:FILE, "
        "tables with a header.",
        default="sst2",
    )
    data_dir: str | None = option(
        "Folder of GLUE's TSV files, or of its folders.", default=None, may_change=True
    )
    removed_layers: tuple[int, ...] = option(
        "Layers of the encoder that are left out, from 0.", default=(), range=">= 0", distinct=True
    )
    pooling: str = option(
        "What classes are told by: the first token's vector, or the mean of all; auto: what the "
        "encoder was made for.",
        default="auto",
        choices=_POOLINGS,
    )
    max_tokens: int = option(
        "Tokens of a text, or of a pair, at most; the rest is cut.",
        default=128,
        range=">= 3",
        aliases=("max_seq_length",),
    )
    bucketing: bool = option(
        "Batches of texts of similar length, which saves padding; else any.", default=True
    )
    label_column: str = option("Of csv: and tsv:, the column of labels.", default="label")
    text_columns: tuple[str, ...] = option(
        "Of csv: and tsv:, the columns of the text, or of the two texts; none: all others.",
        default=(),
        distinct=True,
    )
    image_size: None = dataclasses.field(default=None, init=False)  # texts are no images

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_dataset()
        self.expect("text_columns", len(self.text_columns) <= 2, "with one or two columns")

    def check_dataset(self) -> None:
        """Checks that there is such a task.

        Raises:
            UsageError: there is none.
        """
        self.expect("dataset", datasets.is_text_table(self.dataset), f"to be {tasks_on_texts()}")

    @property
    def dataset_name(self) -> str:
        name = self.dataset.partition(":")[2] or self.dataset
        return pathlib.Path(name.split(",")[0]).stem.lower()

    def task(self) -> "TextClassifierTask":
        return TextClassifierTask(self)


def tasks_on_texts() -> str:
    """The tasks that there are, for messages."""
    return f"one of {', '.join(datasets.GLUE)}, csv:FILE or tsv:FILE"


class TextClassifierTask(Task[TextClassifierConfig]):
    """Cross-entropy, or squares of one number, with AdamW: see `TextClassifierConfig` and `Task`.

    Args:
        config: what is asked for.
        encoder: the whole encoder, already opened. Default: what the configuration names.
    """

    def __init__(
        self, config: TextClassifierConfig, encoder: "models.TextEncoder | None" = None
    ) -> None:
        super().__init__(config)
        self._opened = encoder
        self._tokens: dict[int, tuple[Any, dict[str, np.ndarray]]] = {}

    def with_config(self, config: TextClassifierConfig) -> "TextClassifierTask":
        """A task with other choices, the same encoder, and what was tokenized already."""
        task = TextClassifierTask(config, self.encoder)
        task._tokens = self._tokens
        return task

    @functools.cached_property
    def encoder(self) -> "models.TextEncoder":
        """The whole encoder, with all its layers."""
        return self._opened or models.open_text_encoder(str(self.config.model))

    @property
    def pooling(self) -> str:
        """What the head sees: "first" or "mean"."""
        if self.config.pooling == "auto":
            return "mean" if self.encoder.pools_by_mean else "first"
        return self.config.pooling

    def load(self) -> "datasets.TextDataset":
        config = self.config
        return datasets.load_texts(
            config.dataset,
            data_dir=config.data_dir,
            label_column=config.label_column,
            text_columns=config.text_columns,
            train_examples=config.train_examples or None,
            validation_fraction=config.validation_fraction,
            seed=config.seed,
        )

    def describe(self, data: "datasets.TextDataset") -> dict[str, Any]:
        return {
            "class_names": list(data.class_names),
            "metric": data.metric,
            "fingerprint": data.fingerprint,
            "texts": len(data.train.texts),
        }

    def input_too_large(self, data: "datasets.TextDataset", needed: str) -> UsageError:
        config = self.config
        return UsageError(
            "Expected a training that fits into memory: a smaller --batch_size or --max_tokens. "
            f"Received: --batch_size={config.batch_size} and --max_tokens={config.max_tokens}, "
            f"which need {needed}"
        )

    def build(self, data: "datasets.TextDataset") -> "keras.Model":
        outputs = 1 if data.is_regression else len(data.class_names)
        encoder = self.encoder.without(self.config.removed_layers)
        return models.TextClassifier(
            encoder.backbone, outputs, pooling=self.pooling, dropout=self.config.dropout
        )

    def compile(self, model, *, jit, optimizer=None):
        import keras

        config = self.config
        losses, measures = keras.losses, keras.metrics
        if model.output_shape[-1] == 1:
            loss, metric = losses.MeanSquaredError(), measures.RootMeanSquaredError(name="rmse")
        else:
            loss = losses.SparseCategoricalCrossentropy(from_logits=True)
            metric = measures.SparseCategoricalAccuracy(name="accuracy")
        model.compile(
            optimizer=optimizer or fine_tuning.adamw(config),
            loss=loss,
            metrics=[metric],
            jit_compile=jit,
            run_eagerly=not config.enable_tf_function,
        )

    def training_batches(self, model, data, *, epochs, devices):
        config = self.config
        tokens = self.tokens(data.train)
        used = len(data.train) - len(data.train) % devices
        steps = datasets.epoch_steps(used, config.batch_size, config.steps_per_epoch or None)
        lengths = tokens["padding_mask"].sum(axis=1)
        rows = [
            row
            for epoch in epochs
            for row in _epoch_order(
                lengths,
                config.batch_size,
                used=used,
                seed=config.seed,
                epoch=epoch,
                bucketing=config.bucketing,
            )[:steps]
        ]
        return self._as_inputs_and_targets(model, tokens, data.train.labels, rows)

    def evaluation_batches(self, model, data, examples, *, batch_size):
        rows = _in_order(len(examples), batch_size)
        return self._as_inputs_and_targets(model, self.tokens(examples), examples.labels, rows)

    def batches(self, data, examples) -> Iterator[dict[str, "tf.Tensor"]]:
        tokens = self.tokens(examples)
        rows = _in_order(len(examples), self.config.batch_size)
        return iter(_batches(tokens, examples.labels, rows))

    def arrays(self, data, examples):
        return {"label": examples.labels, **self.tokens(examples)}

    def network_input(self, batch: Mapping[str, Any]) -> Any:
        return {name: values for name, values in batch.items() if name != "label"}

    def figures(self, model, examples, class_names, *, is_finished):
        from tfcaps.training import probe

        del is_finished  # a confusion matrix is all that there is to see
        if not class_names:
            return {}, {}
        scores = probe.in_batches(model.classifier, self.network_input(examples))
        counts = plots.confusion_counts(examples["label"], scores.argmax(axis=-1), len(class_names))
        return {"confusion_matrix": plots.confusion_matrix(counts, class_names)}, {}

    def scores(self, data, labels, outputs):
        own = {"score": metrics.task_score(data.metric, labels, outputs)}
        return own if data.is_regression else {**super().scores(data, labels, outputs), **own}

    def score_names(self, data):
        return ("score",) if data.is_regression else (*super().score_names(data), "score")

    def export(self, model, data, directory: pathlib.Path, *, description) -> None:
        from tfcaps.export import export_text_model

        packer = self.encoder.packer(self.config.max_tokens)
        export_text_model(
            model.classifier,
            directory,
            preprocess=lambda *texts: self.encoder.pack(packer, texts),
            tracked=packer,
            texts=len(data.train.texts),
            class_names=data.class_names,
            description=description,
        )

    def tokens(self, examples: "datasets.TextExamples") -> "dict[str, np.ndarray]":
        """Token ids and what goes with them, (N, T) each; computed once for the same examples."""
        if id(examples) not in self._tokens:
            found = self.encoder.tokenize(examples.texts, self.config.max_tokens)
            # With the examples themselves, so that no others get their identity.
            self._tokens[id(examples)] = examples, found
        return self._tokens[id(examples)][1]

    def _as_inputs_and_targets(self, model, tokens, labels, rows) -> "tf.data.Dataset":
        del model

        def split(batch):
            return self.network_input(batch), batch["label"]

        return _batches(tokens, labels, rows).map(split).prefetch(2)


def _epoch_order(
    lengths: "np.ndarray",
    batch_size: int,
    *,
    used: int,
    seed: int,
    epoch: int,
    bucketing: bool,
) -> "list[np.ndarray]":
    """The examples of each batch of an epoch, which depend on seed and epoch alone.

    Args:
        lengths: tokens of each example, (N,).
        batch_size: B; the last batch of the shuffled examples is smaller where B doesn't divide
            `used`.
        used: how many of the shuffled examples there are in the epoch.
        seed: of the order.
        epoch: its number, from 0.
        bucketing: whether examples of 50 batches at a time are dealt out by length, and the
            batches then shuffled; a batch is a random one, else.

    Returns:
        Indices (B,) of each batch; each example is in one batch at most.

    Example:

    >>> import numpy as np
    >>> order = _epoch_order(np.array([9, 1, 8, 2]), 2, used=4, seed=0, epoch=0, bucketing=True)
    >>> sorted(sorted(batch.tolist()) for batch in order)
    [[0, 2], [1, 3]]
    """
    import numpy as np

    # NumPy promises the same bits in all its versions, but not the same permutations.
    drawn = np.random.PCG64([seed, epoch])
    order = np.argsort(drawn.random_raw(len(lengths)), kind="stable")[:used]
    if not bucketing:
        return _cut(order, batch_size)
    batches = []
    for examples in _cut(order, _SORTED_BATCHES * batch_size):
        by_length = examples[np.argsort(lengths[examples], kind="stable")]
        batches += _cut(by_length, batch_size)
    shuffled = np.argsort(drawn.random_raw(len(batches)), kind="stable")
    return [batches[index] for index in shuffled]


def _cut(values: "np.ndarray", size: int) -> "list[np.ndarray]":
    return [values[start : start + size] for start in range(0, len(values), size)]


def _in_order(count: int, batch_size: int) -> "list[np.ndarray]":
    import numpy as np

    return _cut(np.arange(count), batch_size)


def _batches(
    tokens: "Mapping[str, np.ndarray]", labels: "np.ndarray", rows: "Sequence[np.ndarray]"
) -> "tf.data.Dataset":
    """Batches of `label` and of tokens, each no longer than its longest text needs."""
    import tensorflow as tf

    known = {name: tf.constant(values) for name, values in tokens.items()}
    targets = tf.constant(labels)
    lengths = tf.reduce_sum(known["padding_mask"], axis=1)

    def batch(row):
        longest = tf.reduce_max(tf.gather(lengths, row))
        length = -(-longest // _LENGTH_STEP) * _LENGTH_STEP
        found = {name: tf.gather(values, row)[:, :length] for name, values in known.items()}
        return {"label": tf.gather(targets, row), **found}

    indices = tf.RaggedTensor.from_row_lengths(
        [int(index) for row in rows for index in row], [len(row) for row in rows]
    )
    return tf.data.Dataset.from_tensor_slices(indices).map(
        batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
