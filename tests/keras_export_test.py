"""Keras' own exports of networks: other runtimes load them and give what Keras gives."""

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests import runs
from tests.conformance.models_test import CASES
from tfcaps import layers, models

TOLERANCE = 1e-5
CAPSULES = {"layers": (2, 3), "dimensions": (3, 4)}
IMAGE = (17, 17, 1)


def functional():
    """A user's own network of our layers."""
    images = keras.Input((6, 6, 2))
    primary = layers.PrimaryCapsule(2, 3, 3, 2)(images)
    return keras.Model(images, layers.DenseCapsule(3, 4, routing="sda")(primary))


# The others are of Keras' layers only.
OF_OUR_LAYERS = ("CapsNet", "ConvCapsNet", "EfficientCapsNet", "CapsHead", "BlockNetwork")
NETWORKS = {
    **{name: CASES[name] for name in OF_OUR_LAYERS},
    "em": lambda: models.CapsNet(IMAGE, **CAPSULES, routing="em", use_reconstruction=False),
    "efficient_rba": lambda: models.EfficientCapsNet((28, 28, 1), (16, 3), (8, 4), routing="rba"),
    "functional": functional,
}


@pytest.fixture(scope="module", params=NETWORKS)
def network(request):
    """A network, inputs for it by name, and what Keras predicts."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[request.param]()
    random = np.random.default_rng(0)
    specs = keras.tree.flatten(model.input)
    inputs = [random.uniform(size=(2, *spec.shape[1:])).astype("float32") for spec in specs]
    packed = keras.tree.pack_sequence_as(model.input, inputs)
    expected = keras.tree.flatten(model.predict(packed, verbose=0))
    return model, packed, expected


def by_name(inputs, names):
    """Inputs under a runtime's names, in which Keras' names are."""
    if not isinstance(inputs, dict):
        return dict.fromkeys(names, inputs)
    return {name: next(inputs[key] for key in inputs if key in name) for name in names}


def assert_same(outputs, expected):
    """Each of the expected outputs is there, in whichever order and under whichever name."""
    assert len(outputs) == len(expected)
    for wanted in expected:
        (found,) = (output for output in outputs if output.shape == wanted.shape)
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


def test_saved_model(network, tmp_path):
    model, inputs, expected = network
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_same([o.numpy() for o in tf.nest.flatten(loaded.serve(inputs))], expected)
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((tmp_path / "saved" / "saved_model.pb").read_bytes())
    graph = str(content.meta_graphs[0].graph_def)
    assert "MatMul" in graph
    assert "_XlaMustCompile" not in graph
    assert "jit_compile" not in graph


# Keras asks for NumPy 1's `np.object`, and old protobuf names are tf2onnx's.
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_onnx(network, tmp_path):
    model, inputs, expected = network
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(
        tmp_path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    names = [entry.name for entry in session.get_inputs()]
    assert_same(session.run(None, by_name(inputs, names)), expected)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
def test_tflite(network, tmp_path):
    model, inputs, expected = network
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    interpreter = tf.lite.Interpreter(model_path=str(tmp_path / "model.tflite"))
    run = interpreter.get_signature_runner()
    outputs = run(**by_name(inputs, run.get_input_details()))
    assert_same(list(outputs.values()), expected)


def test_training_still_compiles_after_an_export(tmp_path):
    model = functional()
    model.export(tmp_path / "saved", verbose=False)
    graph = tf.function(model).get_concrete_function(tf.TensorSpec((2, 6, 6, 2))).graph
    assert "_XlaMustCompile" in str(graph.as_graph_def())


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_h5_in_another_process(tmp_path):
    model = models.CapsNet(IMAGE, **CAPSULES, routing="em")
    images = np.random.default_rng(0).uniform(size=(2, *IMAGE)).astype("float32")
    model.save(tmp_path / "model.h5")
    model.save_weights(tmp_path / "model.weights.h5")
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, pathlib, tfcaps, keras, numpy as np\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "images = np.load(folder / 'images.npy')\n"
        "model = keras.models.load_model(folder / 'model.h5')\n"
        "np.save(folder / 'whole.npy', model.predict(images, verbose=0)['lengths'])\n"
        "fresh = type(model).from_config(model.get_config())\n"
        "fresh.load_weights(folder / 'model.weights.h5')\n"
        "np.save(folder / 'weights.npy', fresh.predict(images, verbose=0)['lengths'])\n"
    )
    code_of_end, _, errors = runs.finish(runs.start_code(code, tmp_path))
    assert code_of_end == 0, errors
    expected = model.predict(images, verbose=0)["lengths"]
    for name in ("whole", "weights"):
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, atol=1e-6)
