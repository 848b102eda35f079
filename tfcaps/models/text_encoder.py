"""Pretrained text encoders of KerasHub: opened, tokenizing, and without some of their layers."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from tfcaps import quiet
from tfcaps.errors import UsageError
from tfcaps.models.pretrained import (
    encoder_layers,
    keras_hub,
    open_backbone,
    told,
    without_layers,
)

# Those whose layers lie in one list, each with weights of its own.
_WITH_LAYERS = (
    *("BertBackbone", "RobertaBackbone", "XLMRobertaBackbone"),
    *("DistilBertBackbone", "ElectraBackbone"),
)
_TOKENIZED = 1024  # texts at a time
# Written by sentence-transformers beside a model in Hugging Face's format.
_POOLING_FILE = pathlib.PurePath("1_Pooling", "config.json")


@dataclasses.dataclass(frozen=True)
class TextEncoder:
    """A pretrained encoder with its tokenizer.

    Args:
        name: what it was opened by.
        backbone: from `token_ids`, `padding_mask` and, of some, `segment_ids`, each `(B, T)`, to
            vectors `(B, T, H)`; a model of KerasHub.
        tokenizer: of KerasHub, too.
        pools_by_mean: whether it was made to have its vectors averaged, as sentence encoders are.
    """

    name: str
    backbone: Any
    tokenizer: Any
    pools_by_mean: bool = False

    @property
    def num_layers(self) -> int:
        """L, how many layers there are."""
        return len(encoder_layers(self.backbone))

    def without(self, removed: Collection[int]) -> "TextEncoder":
        """The encoder without some of its layers, see `without_layers`."""
        return dataclasses.replace(self, backbone=without_layers(self.backbone, removed))

    def packer(self, max_tokens: int) -> Any:
        """KerasHub's layer from one or two texts each to `token_ids` and what else goes with it.

        Args:
            max_tokens: T; what is longer is cut.

        Raises:
            UsageError: the encoder has seen no positions beyond fewer tokens.
        """
        longest = self.backbone.get_config().get("max_sequence_length", max_tokens)
        if max_tokens > longest:
            raise UsageError(
                f"Expected --max_tokens of at most {longest}, the positions that {self.name} has. "
                f"Received: {max_tokens}"
            )
        models = keras_hub().models
        packers = models.TextClassifierPreprocessor.__subclasses__()
        fitting = (cls for cls in packers if isinstance(self.tokenizer, cls.tokenizer_cls))
        cls = next(fitting, models.BertTextClassifierPreprocessor)
        return cls(self.tokenizer, sequence_length=max_tokens)

    def pack(self, packer: Any, texts: Sequence[Any]) -> dict[str, Any]:
        """Texts as the backbone takes them, by TensorFlow operations alone.

        Args:
            packer: as `packer` gives it.
            texts: one or two tensors of strings `(B,)`.

        Returns:
            Integers `(B, T)` by name.
        """
        import tensorflow as tf

        # With y, a pair of texts isn't taken for texts and labels.
        packed = packer(tuple(texts) if len(texts) > 1 else texts[0], y=None)
        tokens = packed["token_ids"]
        return {
            # Some tokenizers know no segments where their encoder does.
            name: tf.cast(packed[name], tf.int32) if name in packed else tf.zeros_like(tokens)
            for name in sorted(self.backbone.input)
        }

    def tokenize(self, texts: Sequence[np.ndarray], max_tokens: int) -> dict[str, np.ndarray]:
        """As `pack`, of texts in memory, no longer than the longest one needs.

        Args:
            texts: one or two arrays of strings `(N,)`, N >= 1.
            max_tokens: what is longer is cut.
        """
        import tensorflow as tf

        packer = self.packer(max_tokens)
        columns = tuple(tf.constant([str(text) for text in column]) for column in texts)
        batches = tf.data.Dataset.from_tensor_slices(columns).batch(_TOKENIZED)
        # In a graph, as in a served model. Packing joins 64-bit integers, of which oneDNN tells
        # that it doesn't.
        with quiet.without_notices():
            found = list(batches.map(lambda *batch: self.pack(packer, batch)).as_numpy_iterator())
        packed = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        length = int(packed["padding_mask"].sum(axis=1).max())
        return {name: values[:, :length] for name, values in packed.items()}

    def save(self, folder: str | os.PathLike) -> None:
        """Writes a preset that KerasHub opens, `Backbone.from_preset` and `Tokenizer.from_preset`.

        Args:
            folder: is made, or has what of it there is replaced.
        """
        self.backbone.save_to_preset(os.fspath(folder))
        self.tokenizer.save_to_preset(os.fspath(folder))


def open_text_encoder(name: str | os.PathLike, *, dtype: str | None = None) -> TextEncoder:
    """Opens a pretrained encoder: BERT, RoBERTa, XLM-R, DistilBERT or ELECTRA.

    Args:
        name: a preset of KerasHub, the folder of one, or a folder in Hugging Face's format
            (config.json, safetensors, tokenizer).
        dtype: Keras dtype policy. Default None: the global one.

    Raises:
        UsageError: it can't be opened, or is no encoder whose layers can be removed; or KerasHub
            isn't installed.
    """
    name = os.fspath(name)
    wanted = f"one of {', '.join(_WITH_LAYERS)}"
    backbone = open_backbone(name, _WITH_LAYERS, wanted=wanted, dtype=dtype)
    with told(name):
        tokenizer = keras_hub().models.Tokenizer.from_preset(name)
    return TextEncoder(name, backbone, tokenizer, _pools_by_mean(pathlib.Path(name)))


def _pools_by_mean(folder: pathlib.Path) -> bool:
    try:
        pooling = json.loads((folder / _POOLING_FILE).read_text(encoding="utf-8"))
        return bool(pooling["pooling_mode_mean_tokens"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
