"""The exported folder answers like the Keras model, in Python, in TensorFlow's tool and in C++."""

import errno
import io
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from tests import encoders
from tests.serving import messages
from tfcaps import datasets, export, files, models, routing
from tfcaps.errors import UsageError

IMAGE_SHAPE = (12, 10, 3)
CROP_SHAPE = (10, 10, 3)
CLASS_NAMES = ("ant", "bee", "wasp nest")
TOLERANCE = 1e-5


def crop_and_standardise(images):
    """Rows 1 to 10 of 12, then each image to mean 0 and standard deviation 1."""
    return tf.image.per_image_standardization(tf.cast(images, tf.float32)[:, 1:11])


def crop_and_standardise_numpy(images):
    cropped = images[:, 1:11].astype(np.float64)
    mean = cropped.mean(axis=(1, 2, 3), keepdims=True)
    deviation = cropped.std(axis=(1, 2, 3), keepdims=True)
    return ((cropped - mean) / deviation).astype(np.float32)


def scale(images):
    return tf.cast(images, tf.float32) / 255.0


def make_classifier(input_shape=CROP_SHAPE, dtype="float32"):
    keras.utils.set_random_seed(7)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(4, 3, activation="relu", dtype=dtype),
            layers.BatchNormalization(dtype=dtype),
            layers.Flatten(dtype=dtype),
            layers.Dropout(0.5, dtype=dtype),
            layers.Dense(len(CLASS_NAMES), dtype=dtype),
        ]
    )


def random_images(count, shape=IMAGE_SHAPE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def smooth_image(height, width):
    """A picture without fine detail, which survives JPEG and resizing well."""
    rows, columns = np.mgrid[0:height, 0:width]
    y, x = (rows + 0.5) / height, (columns + 0.5) / width
    channels = [128 + 100 * np.sin(3 * x + y), 200 * y, 250 * x * (1 - y)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def file_bytes(image, file_format="PNG", **options):
    """An (H, W) or (H, W, C) array as the bytes of an image file."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, file_format, **options)
    return buffer.getvalue()


def signatures_of(folder):
    return tf.saved_model.load(folder).signatures


def export_small(directory, **overrides):
    arguments = {
        "preprocess": crop_and_standardise,
        "image_shape": IMAGE_SHAPE,
        "class_names": CLASS_NAMES,
    }
    return export.export_model(make_classifier(), directory, **{**arguments, **overrides})


def graph_definition(folder):
    content = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return content.meta_graphs[0].graph_def


def must_compile_names(graph):
    """Functions, and calls of functions, that only run where XLA can compile them."""
    marked = [f.signature.name for f in graph.library.function if f.attr["_XlaMustCompile"].b]
    for nodes in (graph.node, *(f.node_def for f in graph.library.function)):
        marked += [node.name for node in nodes if node.attr["_XlaMustCompile"].b]
    return marked


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export_small(tmp_path_factory.mktemp("serving"))


@pytest.fixture(scope="module")
def served(folder):
    return signatures_of(folder)


@pytest.fixture(scope="module")
def expected_scores():
    """What the Keras model says of `random_images(5)`, preprocessed in NumPy."""
    return make_classifier().predict(crop_and_standardise_numpy(random_images(5)), verbose=0)


def started(program, *arguments):
    """The C++ program's process, at its end."""
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def run_loader(program, *arguments, classes=3):
    """The class ids, labels and scores that the C++ program prints."""
    result = started(program, *arguments)
    assert result.returncode == 0, result.stderr
    class_ids, labels, scores = [], [], []
    for line in result.stdout.splitlines():
        class_id, rest = line.split(" ", 1)
        label, *numbers = rest.rsplit(" ", classes)
        class_ids.append(int(class_id))
        labels.append(label)
        scores.append([float(number) for number in numbers])
    return class_ids, labels, scores


def run_saved_model_cli(folder, signature, inputs, output_directory):
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli", "run"]
    options = ["--dir", folder, "--tag_set", "serve", "--signature_def", signature]
    result = subprocess.run(
        [*tool, *options, "--inputs", inputs, "--outdir", output_directory],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return {
        name: np.load(output_directory / f"{name}.npy", allow_pickle=True)
        for name in ("scores", "label", "class_id")
    }


class TestFolder:
    def test_is_what_a_server_looks_for(self, folder):
        assert folder.name == "1"
        assert (folder / "saved_model.pb").is_file()
        assert (folder / "variables" / "variables.index").is_file()
        assert not list((folder / "assets").glob("*"))
        assert [path.name for path in folder.parent.iterdir()] == ["1"]

    def test_can_be_read_by_other_users(self, folder):
        plain = folder.parent / "plain"
        plain.mkdir()
        assert folder.stat().st_mode == plain.stat().st_mode
        plain.rmdir()

    def test_signatures(self, served):
        assert sorted(served) == ["serving_bytes", "serving_default"]
        inputs = {name: f.structured_input_signature[1] for name, f in served.items()}
        assert list(inputs["serving_default"]) == ["images"]
        assert inputs["serving_default"]["images"].shape.as_list() == [None, 12, 10, 3]
        assert inputs["serving_default"]["images"].dtype == tf.uint8
        assert list(inputs["serving_bytes"]) == ["image_bytes"]
        assert inputs["serving_bytes"]["image_bytes"].shape.as_list() == [None]
        assert inputs["serving_bytes"]["image_bytes"].dtype == tf.string
        for function in served.values():
            outputs = function.structured_outputs
            assert {name: (o.dtype, o.shape.as_list()) for name, o in outputs.items()} == {
                "scores": (tf.float32, [None, 3]),
                "label": (tf.string, [None]),
                "class_id": (tf.int64, [None]),
            }

    def test_must_compile_names_finds_a_compiled_function(self, tmp_path):
        module = tf.Module()
        module.double = tf.function(
            lambda x: x * 2.0, jit_compile=True, input_signature=[tf.TensorSpec((), tf.float32)]
        )
        tf.saved_model.save(module, tmp_path)
        assert must_compile_names(graph_definition(tmp_path))


class TestAnswers:
    def test_images(self, served, expected_scores):
        answer = served["serving_default"](images=tf.constant(random_images(5)))
        np.testing.assert_allclose(answer["scores"], expected_scores, atol=TOLERANCE)
        class_ids = expected_scores.argmax(axis=1)
        assert len(set(class_ids)) > 1  # the images tell the classes apart
        assert answer["class_id"].numpy().tolist() == class_ids.tolist()
        labels = [CLASS_NAMES[class_id].encode() for class_id in class_ids]
        assert answer["label"].numpy().tolist() == labels

    def test_png_files(self, served, expected_scores):
        files = [file_bytes(image) for image in random_images(5)]
        answer = served["serving_bytes"](image_bytes=tf.constant(files))
        np.testing.assert_allclose(answer["scores"], expected_scores, atol=TOLERANCE)
        assert answer["class_id"].numpy().tolist() == expected_scores.argmax(axis=1).tolist()

    def test_jpeg_file(self, served):
        jpeg = file_bytes(smooth_image(12, 10), "JPEG", quality=90)
        pixels = tf.io.decode_jpeg(jpeg, channels=3)[tf.newaxis]
        answer = served["serving_bytes"](image_bytes=tf.constant([jpeg]))
        expected = served["serving_default"](images=pixels)
        np.testing.assert_allclose(answer["scores"], expected["scores"], atol=TOLERANCE)

    @pytest.mark.parametrize("size", [(36, 40), (5, 7), (12, 31)])
    def test_other_size_is_resized(self, served, size):
        image = smooth_image(*size)
        # Pillow's bilinear filter is the same one, with 8 bits between its two passes.
        resized = np.asarray(PIL.Image.fromarray(image).resize((10, 12), PIL.Image.BILINEAR))
        answer = served["serving_bytes"](image_bytes=tf.constant([file_bytes(image)]))
        expected = make_classifier().predict(
            crop_and_standardise_numpy(resized[np.newaxis]), verbose=0
        )
        assert np.ptp(expected) > 0.5
        np.testing.assert_allclose(answer["scores"], expected, atol=0.02)

    def test_sizes_and_formats_are_mixed_in_one_batch(self, served):
        png, jpeg = file_bytes(smooth_image(20, 20)), file_bytes(smooth_image(9, 30), "JPEG")
        both = served["serving_bytes"](image_bytes=tf.constant([png, jpeg]))["scores"]
        for row, data in enumerate([png, jpeg]):
            alone = served["serving_bytes"](image_bytes=tf.constant([data]))["scores"]
            np.testing.assert_allclose(both[row], alone[0], atol=TOLERANCE)

    def test_grey_file_for_a_colour_model(self, served):
        grey = smooth_image(12, 10)[..., 0]
        answer = served["serving_bytes"](image_bytes=tf.constant([file_bytes(grey)]))
        colour = np.repeat(grey[np.newaxis, ..., np.newaxis], 3, axis=-1)
        expected = make_classifier().predict(crop_and_standardise_numpy(colour), verbose=0)
        np.testing.assert_allclose(answer["scores"], expected, atol=TOLERANCE)

    def test_colour_file_for_a_grey_model(self, tmp_path):
        classifier = make_classifier((12, 10, 1))
        folder = export.export_model(
            classifier,
            tmp_path,
            preprocess=scale,
            image_shape=(12, 10, 1),
            class_names=CLASS_NAMES,
        )
        image = smooth_image(12, 10)
        answer = signatures_of(folder)["serving_bytes"](
            image_bytes=tf.constant([file_bytes(image)])
        )
        luma = image @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
        expected = classifier.predict(luma[np.newaxis, ..., np.newaxis] / 255, verbose=0)
        # The decoders' weights for the three colours differ in the second digit.
        np.testing.assert_allclose(answer["scores"], expected, atol=0.1)

    def test_bytes_that_are_no_image(self, served):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format"):
            served["serving_bytes"](image_bytes=tf.constant([b"not an image"]))

    def test_empty_batch(self, served):
        for answer in (
            served["serving_default"](images=tf.zeros((0, *IMAGE_SHAPE), tf.uint8)),
            served["serving_bytes"](image_bytes=tf.zeros((0,), tf.string)),
        ):
            assert answer["scores"].shape == (0, 3)
            assert answer["label"].shape == (0,)
            assert answer["class_id"].shape == (0,)

    @pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
    def test_scores_are_float32_in_mixed_precision(self, tmp_path, dtype):
        classifier = make_classifier(IMAGE_SHAPE, dtype=dtype)
        folder = export.export_model(
            classifier,
            tmp_path,
            preprocess=scale,
            image_shape=IMAGE_SHAPE,
            class_names=CLASS_NAMES,
        )
        images = random_images(2)
        answer = signatures_of(folder)["serving_default"](images=tf.constant(images))
        assert answer["scores"].dtype == tf.float32
        scores = classifier(images.astype(np.float32) / 255.0, training=False)
        assert scores.dtype != tf.float32
        np.testing.assert_allclose(answer["scores"], tf.cast(scores, tf.float32), atol=TOLERANCE)


class TestOtherLoaders:
    @pytest.fixture(params=["serving_default", "serving_bytes"])
    def signature(self, request):
        return request.param

    def test_saved_model_cli(self, folder, expected_scores, signature, tmp_path):
        images = random_images(5)
        if signature == "serving_default":
            name, data = "images", images
        else:
            name, data = "image_bytes", np.array([file_bytes(i) for i in images], dtype=object)
        np.save(tmp_path / "input.npy", data, allow_pickle=True)
        answer = run_saved_model_cli(
            folder, signature, f"{name}={tmp_path / 'input.npy'}", tmp_path / "answer"
        )
        np.testing.assert_allclose(answer["scores"], expected_scores, atol=TOLERANCE)
        assert answer["class_id"].tolist() == expected_scores.argmax(axis=1).tolist()
        assert answer["label"].tolist() == [CLASS_NAMES[i].encode() for i in answer["class_id"]]

    def test_cpp(self, folder, expected_scores, signature, loader_program, tmp_path):
        images = random_images(5)
        if signature == "serving_default":
            (tmp_path / "pixels").write_bytes(images.tobytes())
            arguments = [tmp_path / "pixels", *images.shape]
        else:
            arguments = [tmp_path / f"{i}.png" for i in range(len(images))]
            for path, image in zip(arguments, images, strict=True):
                path.write_bytes(file_bytes(image))
        class_ids, labels, scores = run_loader(loader_program, folder, signature, *arguments)
        np.testing.assert_allclose(scores, expected_scores, atol=TOLERANCE)
        assert class_ids == expected_scores.argmax(axis=1).tolist()
        assert labels == [CLASS_NAMES[i] for i in class_ids]


TEXTS = ("this is a good film", "Very BAD, is'nt it?", "", "GÖÖD film", "a very very bad film")
PAIRS = ("a film", "this is bad", "very good", "", "Film!")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder") / "bert"
    return models.open_text_encoder(encoders.tiny_bert(folder, num_layers=1))


@pytest.fixture(scope="module")
def operations(encoder):
    """The folder that a C++ program loads libraries from."""
    del encoder  # it has imported the package
    return pathlib.Path(sys.modules["tensorflow_text"].__file__).parent / "python" / "ops"


def export_texts(encoder, directory, columns, class_names):
    """A version folder, and what the Keras model says of one or two columns of texts."""
    model = models.TextClassifier(encoder.backbone, len(class_names) or 1)
    tokens = encoder.tokenize([np.array(column, object) for column in columns], 16)
    head = model.get_layer("logits")
    head.kernel.assign(100 * head.kernel)  # a new head gives nearly the same answer to all
    head.bias.assign(-np.mean(model(tokens), axis=0))
    packer = encoder.packer(16)
    folder = export.export_text_model(
        model.classifier,
        directory,
        preprocess=lambda *texts: encoder.pack(packer, texts),
        tracked=packer,
        texts=len(columns),
        class_names=class_names,
    )
    return folder, np.asarray(model.classifier(tokens, training=False))


def text_files(directory, columns):
    """Files of one text a line."""
    for name, column in zip("ab", columns, strict=False):
        (directory / name).write_text("".join(f"{text}\n" for text in column))
        yield directory / name


class TestTexts:
    """Strings in, and a tokenizer in the graph, whose operations tensorflow-text brings."""

    class_names = ("bad", "good enough")

    @pytest.fixture(scope="class")
    @classmethod
    def served_texts(cls, encoder, tmp_path_factory):
        return export_texts(encoder, tmp_path_factory.mktemp("texts"), (TEXTS,), cls.class_names)

    def test_cpp(self, served_texts, operations, loader_program, tmp_path):
        folder, expected = served_texts
        assert len(set(expected.argmax(axis=1))) == 2
        asked = (folder, "texts", operations, *text_files(tmp_path, (TEXTS,)))
        class_ids, labels, scores = run_loader(loader_program, *asked, classes=2)
        np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
        assert class_ids == expected.argmax(axis=1).tolist()
        assert labels == [self.class_names[i] for i in class_ids]

    def test_cpp_with_pairs_and_a_number(self, encoder, operations, loader_program, tmp_path):
        folder, expected = export_texts(encoder, tmp_path / "serving", (TEXTS, PAIRS), ())
        files = text_files(tmp_path, (TEXTS, PAIRS))
        result = started(loader_program, folder, "texts", operations, *files)
        assert result.returncode == 0, result.stderr
        found = [float(line) for line in result.stdout.splitlines()]
        np.testing.assert_allclose(found, expected[:, 0], atol=TOLERANCE)

    def test_cpp_without_the_operations(self, served_texts, loader_program, tmp_path):
        (tmp_path / "none").mkdir()
        files = text_files(tmp_path, (TEXTS,))
        result = started(loader_program, served_texts[0], "texts", tmp_path / "none", *files)
        assert result.returncode == 1
        assert "Op type not registered" in result.stderr


CAPSULE_IMAGE_SHAPE = (28, 24, 1)
CAPSULE_PREPROCESSING = datasets.Preprocessing(
    resize=None, crop=20, shift=0, flip=False, brightness=0.0, standardize=True
)
CAPSULE_MODELS = {
    **{
        f"CapsNet-{name}": (models.CapsNet, {"layers": (2, 4, 3), "routing": name})
        for name in routing.names()
    },
    # So many channels that a server's device chooses the convolution.
    "CapsNet-wide": (models.CapsNet, {"layers": (16, 4, 3)}),
    "ConvCapsNet-em": (models.ConvCapsNet, {"layers": (2, 3, 3), "routing": "em"}),
}


@pytest.fixture(scope="module", params=CAPSULE_MODELS)
def capsules(request, tmp_path_factory):
    """A version folder and what the Keras model says of `random_images(4)`."""
    keras.utils.set_random_seed(3)
    make_model, arguments = CAPSULE_MODELS[request.param]
    model = make_model((20, 20, 1), dimensions=(4, 4, 4), **arguments)
    folder = export.export_model(
        model.classifier,
        tmp_path_factory.mktemp("serving"),
        preprocess=lambda images: CAPSULE_PREPROCESSING.evaluate(images)[0],
        image_shape=CAPSULE_IMAGE_SHAPE,
        class_names=CLASS_NAMES,
    )
    inputs, _ = CAPSULE_PREPROCESSING.evaluate(random_images(4, CAPSULE_IMAGE_SHAPE))
    return folder, np.asarray(model.classifier(inputs, training=False))


class TestCapsuleNetworks:
    """The same with the project's own networks and preprocessing."""

    def test_python(self, capsules):
        folder, expected = capsules
        images = random_images(4, CAPSULE_IMAGE_SHAPE)
        assert np.ptp(expected, axis=0).min() > 1e-3  # the answer depends on the image
        served = signatures_of(folder)
        answer = served["serving_default"](images=tf.constant(images))
        np.testing.assert_allclose(answer["scores"], expected, atol=TOLERANCE)
        encoded = tf.constant([file_bytes(image[..., 0]) for image in images])
        answer = served["serving_bytes"](image_bytes=encoded)
        np.testing.assert_allclose(answer["scores"], expected, atol=TOLERANCE)
        empty = served["serving_default"](images=tf.zeros((0, *CAPSULE_IMAGE_SHAPE), tf.uint8))
        assert empty["scores"].shape == (0, 3)

    def test_cpp(self, capsules, loader_program, tmp_path):
        folder, expected = capsules
        images = random_images(4, CAPSULE_IMAGE_SHAPE)
        (tmp_path / "pixels").write_bytes(images.tobytes())
        _, _, scores = run_loader(
            loader_program, folder, "serving_default", tmp_path / "pixels", *images.shape
        )
        np.testing.assert_allclose(scores, expected, atol=TOLERANCE)

    def test_runs_where_xla_can_compile_nothing(self, capsules):
        assert not must_compile_names(graph_definition(capsules[0]))


class TestBesideTheModel:
    def test_warm_up(self, tmp_path):
        """One request to each signature, which it answers; nothing that the messages lack."""
        folder = export_small(tmp_path)
        path = folder / "assets.extra" / "tf_serving_warmup_requests"
        served = signatures_of(folder)
        asked = []
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            request = messages.message("PredictionLog").FromString(record).predict_log.request
            inputs = messages.arrays(request.inputs)
            name = request.model_spec.signature_name
            answer = served[name](**{k: tf.constant(v) for k, v in inputs.items()})
            assert answer["scores"].shape == (1, 3)
            asked.append((name, {k: v.shape for k, v in inputs.items()}))
        assert asked == [
            ("serving_default", {"images": (1, *IMAGE_SHAPE)}),
            ("serving_bytes", {"image_bytes": (1,)}),
        ]

    def test_description(self, tmp_path):
        folder = export_small(tmp_path, description={"epoch": 3})
        found = export.read_description(folder)
        assert found["class_names"] == list(CLASS_NAMES)
        assert found["image_shape"] == list(IMAGE_SHAPE)
        assert found["versions"]["tensorflow"] == tf.__version__
        assert found["epoch"] == 3
        (folder / "assets.extra" / "description.json").write_text("[")
        assert export.read_description(folder) == {}
        assert export.read_description(tmp_path / "missing") == {}


class TestVersions:
    def test_next_is_one_above_the_highest(self, tmp_path):
        (tmp_path / "9").mkdir()
        (tmp_path / "10").mkdir()
        (tmp_path / "11-notes").mkdir()
        assert export_small(tmp_path).name == "11"
        assert export_small(tmp_path).name == "12"

    def test_given_version_and_new_folders(self, tmp_path):
        folder = export_small(tmp_path / "new" / "serving", version=42)
        assert folder == tmp_path / "new" / "serving" / "42"
        assert (folder / "saved_model.pb").is_file()

    @pytest.mark.parametrize("version", [0, -3, 2**63, 10**20])
    def test_out_of_range(self, tmp_path, version):
        """A server's numbers have 64 bits: it would pass over a folder with a larger one."""
        with pytest.raises(UsageError, match=f"1 and 9223372036854775807. Received: {version}$"):
            export_small(tmp_path, version=version)
        assert not list(tmp_path.iterdir())

    def test_none_is_left(self, tmp_path):
        (tmp_path / str(2**63 - 1)).mkdir()
        with pytest.raises(UsageError, match=f"Received: {2**63}$"):
            export_small(tmp_path)

    def test_what_a_killed_process_left_is_removed(self, tmp_path):
        left_over = tmp_path / ".writing-x" / "1"
        left_over.mkdir(parents=True)
        (left_over / "saved_model.pb").write_bytes(b"half")
        assert export_small(tmp_path).name == "1"
        assert [path.name for path in tmp_path.iterdir()] == ["1"]

    def test_another_process_exports(self, tmp_path):
        with (
            files.WorkFolder(tmp_path, files.EXPORT).locked(),
            pytest.raises(UsageError, match="Expected --output_dir without another process"),
        ):
            export_small(tmp_path)

    def test_existing_version_stays(self, tmp_path):
        (tmp_path / "3").mkdir()
        with pytest.raises(UsageError, match=f"3, but {tmp_path / '3'} exists"):
            export_small(tmp_path, version=3)
        assert [path.name for path in tmp_path.rglob("*")] == ["3"]


class TestWrongInput:
    def test_directory_below_a_file(self, tmp_path):
        (tmp_path / "file").write_text("kept")
        with pytest.raises(UsageError, match=f"Cannot write an export to {tmp_path}/file/serving"):
            export_small(tmp_path / "file" / "serving")
        assert (tmp_path / "file").read_text() == "kept"

    @pytest.mark.parametrize(
        "error",
        [
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            tf.errors.ResourceExhaustedError(
                None, None, "{{node SaveV2}} a-part; No space left on device [Op:SaveV2]"
            ),
        ],
    )
    def test_full_disk_leaves_nothing_behind(self, tmp_path, monkeypatch, error):
        def write_a_part(_module, folder, **_):
            folder.mkdir()
            (folder / "saved_model.pb").write_bytes(b"half")
            raise error

        monkeypatch.setattr(tf.saved_model, "save", write_a_part)
        with pytest.raises(UsageError, match=r"serving: No space left on device\.$"):
            export_small(tmp_path / "serving")
        assert not (tmp_path / "serving").exists()

    def test_class_names_of_another_number(self, tmp_path):
        with pytest.raises(UsageError, match=r"Expected 3 class names, .* Received: 2$"):
            export_small(tmp_path, class_names=CLASS_NAMES[:2])
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("image_shape", [(12, 10), (12, 0, 3), (12, 10, 2)])
    def test_image_shape(self, tmp_path, image_shape):
        with pytest.raises(UsageError, match="1, 3 or 4 channels"):
            export_small(tmp_path, image_shape=image_shape)

    def test_other_backend(self, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
        with pytest.raises(UsageError, match="KERAS_BACKEND=jax"):
            export_small(tmp_path)
