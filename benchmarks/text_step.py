"""Fine-tuning a text encoder: a step beside KerasHub's, the embeddings' part, batches by length.

python -m benchmarks.text_step MODEL_FOLDER SST2_FOLDER [ROUNDS]
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# The log level comes first.
import keras
import numpy as np
import tensorflow as tf

from tfcaps import measure, models
from tfcaps.training import TextClassifierConfig, TextClassifierTask, loop, schedules

TOKENS, BATCH, STEPS = 64, 32, 8
# Of SST-2, for the comparison of batches.
SENTENCES = 1024


def epoch(config: TextClassifierConfig, encoder: models.TextEncoder, data):
    """A function that trains one epoch, with everything that a training does in it."""
    session = loop.start(TextClassifierTask(config, encoder), data)
    return lambda: session.train_epochs(
        range(1), schedules.callbacks(config, session.steps), validate=False
    )


def host_epoch(encoder: models.TextEncoder, data):
    """The same number of steps by KerasHub's own classifier and `fit`, padded to all tokens."""
    import keras_hub

    classifier = keras_hub.models.BertTextClassifier(
        models.without_layers(encoder.backbone, ()), num_classes=2, preprocessor=None
    )
    classifier.compile(
        keras.optimizers.AdamW(2e-5, weight_decay=0.0, global_clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    packer = encoder.packer(TOKENS)
    packed = encoder.pack(packer, [tf.constant(list(data.train.texts[0]))])
    batches = tf.data.Dataset.from_tensor_slices((packed, data.train.labels)).batch(BATCH)
    return lambda: classifier.fit(batches.prefetch(2), verbose=0)


def embeddings(encoder: models.TextEncoder, batch):
    """A function that computes what the lowest layer of an encoder gets."""
    lowest, *_ = keras.tree.flatten(encoder.backbone.transformer_layers[0].input)
    return measure.inference(keras.Model(encoder.backbone.input, lowest), batch)


def main(model: str, folder: str, rounds: int = 5) -> None:
    """Prints the ratios."""
    encoder = models.open_text_encoder(model)

    def config(**changes):
        known = {"dataset": "sst2", "data_dir": folder, "validation_fraction": 0.0, "epochs": 1}
        known |= {"max_tokens": TOKENS, "batch_size": BATCH, "learning_rate": 2e-5}
        return TextClassifierConfig(log_dir="", model=model, **{**known, **changes})

    data = TextClassifierTask(config(train_examples=SENTENCES), encoder).load()
    lengths = np.array([len(text.split()) for text in data.train.texts[0]])
    long = data.train.take(np.argsort(lengths, kind="stable")[-BATCH * STEPS :])
    full = type(data)(data.name, data.class_names, long, None, data.test, data.metric)
    ours = epoch(config(bucketing=False, pooling="first"), encoder, full)
    tokens = {name: rows[:BATCH] for name, rows in encoder.tokenize(long.texts, TOKENS).items()}
    below = embeddings(encoder, tokens)
    programs = {"ours": ours, "KerasHub": host_epoch(encoder, full), "embeddings": below}
    seconds = measure.medians(programs, rounds)
    print(
        f"a step of {BATCH} long sentences: {1e3 * seconds['ours'] / STEPS:.0f} ms here, "
        f"{1e3 * seconds['KerasHub'] / STEPS:.0f} ms by KerasHub padded to {TOKENS} tokens "
        f"({seconds['KerasHub'] / seconds['ours']:.2f} times)"
    )
    share = seconds["embeddings"] / (seconds["ours"] / STEPS)
    print(f"of which the embeddings need {1e3 * seconds['embeddings']:.1f} ms ({share:.1%})")
    kinds = {
        "by length": epoch(config(), encoder, data),
        "any": epoch(config(bucketing=False), encoder, data),
        "KerasHub, padded": host_epoch(encoder, data),
    }
    seconds = measure.medians(kinds, max(2, rounds // 2))
    for name in ("any", "KerasHub, padded"):
        print(
            f"an epoch of {SENTENCES} sentences of SST-2 by length: {seconds['by length']:.1f} s, "
            f"{name}: {seconds[name]:.1f} s ({seconds[name] / seconds['by length']:.2f} times)"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
