"""A tiny BERT with its tokenizer, and a table of texts that it can learn."""

import pathlib

import keras
import numpy as np

WORDS = ("good", "bad", "a", "film", "very", "not", "this", "is")


def tiny_bert(folder: pathlib.Path, *, num_layers: int = 4) -> pathlib.Path:
    """Writes a preset of KerasHub with random weights, and returns its folder."""
    import keras_hub

    keras.utils.set_random_seed(0)
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=5 + len(WORDS),
        num_layers=num_layers,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=24,
    )
    # Weights of 0.02 would make all layers alike: nearly nothing.
    generator = np.random.default_rng(0)
    for weight in backbone.weights:
        if len(weight.shape) > 1:
            weight.assign(0.3 * generator.standard_normal(weight.shape))
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=vocabulary, lowercase=True)
    folder.mkdir(parents=True)
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return folder


def texts(count: int, seed: int) -> list[tuple[str, int]]:
    """Sentences of three to eight words, which are of class 1 where "good" is in them."""
    generator = np.random.default_rng(seed)
    rows = []
    for index in range(count):
        words = [WORDS[2 + i] for i in generator.integers(0, 6, size=generator.integers(2, 8))]
        label = index % 2
        words.insert(generator.integers(0, len(words) + 1), WORDS[0] if label else WORDS[1])
        rows.append((" ".join(words), label))
    return rows


def write_sst2(folder: pathlib.Path, train: int = 80, test: int = 30) -> pathlib.Path:
    """Writes a table as SST-2's, and returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("dev", test, 2)):
        lines = [f"{text}\t{label}\n" for text, label in texts(count, seed)]
        (folder / f"{name}.tsv").write_text("sentence\tlabel\n" + "".join(lines), encoding="utf-8")
    return folder
