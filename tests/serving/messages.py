"""TensorFlow Serving's messages, as far as they are needed: what a warm-up has, and predictions.

Of its apis/prediction_log.proto, predict.proto and model.proto. An entry of a map is a message with
key and value.
"""

import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from tensorflow.core.framework import (
    resource_handle_pb2,
    tensor_pb2,
    tensor_shape_pb2,
    types_pb2,
)

SERVICE = "tensorflow.serving.PredictionService"
_PACKAGE = "tfcaps_serving"
_MESSAGES = """
name: "tfcaps_serving.proto" package: "tfcaps_serving" syntax: "proto3"
dependency: "tensorflow/core/framework/tensor.proto"
message_type { name: "ModelSpec"
  field { name: "name" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "signature_name" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL } }
message_type { name: "Entry"
  field { name: "key" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "value" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".tensorflow.TensorProto" } }
message_type { name: "PredictRequest"
  field { name: "model_spec" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".tfcaps_serving.ModelSpec" }
  field { name: "inputs" number: 2 type: TYPE_MESSAGE label: LABEL_REPEATED
          type_name: ".tfcaps_serving.Entry" } }
message_type { name: "PredictResponse"
  field { name: "outputs" number: 1 type: TYPE_MESSAGE label: LABEL_REPEATED
          type_name: ".tfcaps_serving.Entry" }
  field { name: "model_spec" number: 2 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".tfcaps_serving.ModelSpec" } }
message_type { name: "PredictLog"
  field { name: "request" number: 1 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".tfcaps_serving.PredictRequest" } }
message_type { name: "PredictionLog"
  field { name: "predict_log" number: 6 type: TYPE_MESSAGE label: LABEL_OPTIONAL
          type_name: ".tfcaps_serving.PredictLog" } }
"""


@functools.cache
def message(name: str):
    """The class of a message, such as `PredictRequest`."""
    pool = _pool()
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for known in (types_pb2, tensor_shape_pb2, resource_handle_pb2, tensor_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    file = text_format.Parse(_MESSAGES, descriptor_pb2.FileDescriptorProto())
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def add(entries, arrays: Mapping[str, np.ndarray]) -> None:
    """Fills a map of tensors, of a request or an answer."""
    for name, array in arrays.items():
        entry = entries.add(key=name)
        entry.value.MergeFromString(tf.make_tensor_proto(array).SerializeToString())


def arrays(entries) -> dict[str, np.ndarray]:
    """The inverse of `add`."""
    return {
        entry.key: tf.make_ndarray(
            tensor_pb2.TensorProto.FromString(entry.value.SerializeToString())
        )
        for entry in entries
    }
