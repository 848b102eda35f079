"""A gRPC server of TensorFlow Serving's `Predict` by the loader that it uses, and its clients."""

import concurrent.futures
import contextlib
from collections.abc import Iterator, Mapping

import grpc
import numpy as np

from tests.serving import messages
from tests.serving.loader import Loader, RefusedError

_THREADS = 16
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# As TensorFlow Serving has it: pictures are larger than gRPC's own bound.
_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@contextlib.contextmanager
def served(loader: Loader) -> Iterator[str]:
    """Gives the address of a server of `Predict`."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(_THREADS), options=_OPTIONS)

    def predict(request, context):
        inputs = {entry.key: entry.value.SerializeToString() for entry in request.inputs}
        name = request.model_spec.signature_name or "serving_default"
        try:
            outputs = loader.answer(name, inputs)
        except RefusedError as error:
            context.abort(_CODES[error.code], str(error))
        answer = messages.message("PredictResponse")(model_spec=request.model_spec)
        for output, content in outputs.items():
            answer.outputs.add(key=output).value.MergeFromString(content)
        return answer

    handler = grpc.unary_unary_rpc_method_handler(
        predict,
        request_deserializer=messages.message("PredictRequest").FromString,
        response_serializer=messages.message("PredictResponse").SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(messages.SERVICE, {"Predict": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


class Client:
    """Asks a server, over a connection of its own.

    Args:
        address: of the server.
    """

    def __init__(self, address: str):
        # Clients of one process would share a connection else.
        options = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._predict = self._channel.unary_unary(
            f"/{messages.SERVICE}/Predict",
            request_serializer=messages.message("PredictRequest").SerializeToString,
            response_deserializer=messages.message("PredictResponse").FromString,
        )

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs by name.

        Raises:
            grpc.RpcError: the server refuses the request.
        """
        request = messages.message("PredictRequest")()
        request.model_spec.name = "tfcaps"
        request.model_spec.signature_name = signature
        messages.add(request.inputs, inputs)
        return messages.arrays(self._predict(request, timeout=60).outputs)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()
