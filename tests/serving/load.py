"""Many requests to a server, by several clients at the same time: right ones and wrong ones."""

import concurrent.futures
import dataclasses
import io
import random
import struct
import time
import zlib
from collections.abc import Callable

import grpc
import numpy as np
from PIL import Image

from tests.serving.loader import Loader
from tests.serving.service import Client

SIGNATURES = ("serving_default", "serving_bytes")
_TOLERANCE = 1e-5


@dataclasses.dataclass
class Answers:
    """What came of the requests.

    Args:
        seconds: of each right request, by signature and number of images.
        refused: number of wrong ones, by what is wrong.
        faults: what came out otherwise than it should.
        megabytes: of the loader, after each tenth of the requests.
        elapsed: seconds of it all.
    """

    seconds: dict[tuple[str, int], list[float]] = dataclasses.field(default_factory=dict)
    refused: dict[str, int] = dataclasses.field(default_factory=dict)
    faults: list[str] = dataclasses.field(default_factory=list)
    megabytes: list[float] = dataclasses.field(default_factory=list)
    elapsed: float = 0.0


def png(image: np.ndarray) -> bytes:
    """A grey image (H, W, 1) as a file."""
    data = io.BytesIO()
    Image.fromarray(image[..., 0]).save(data, "PNG")
    return data.getvalue()


def huge_png() -> bytes:
    """A file of few bytes that says that it has 30,000² pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    end = b"IEND"
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
        for part in (head, b"IDAT" + zlib.compress(bytes(100)), end)
    )


def wrong_requests(images: np.ndarray) -> dict[str, tuple[str, dict[str, np.ndarray]]]:
    """Requests that have to be refused, by what is wrong with them."""
    good, some = np.array([png(images[0])], object), images[:2]
    texts = {"no picture": b"no picture", "half a picture": png(images[0])[:60],
             "a huge picture": huge_png(), "no bytes": b""}  # fmt: skip
    return {
        "no signature": ("serving_nothing", {"images": some}),
        "no input": ("serving_default", {}),
        "another input": ("serving_default", {"pictures": some}),
        "too many inputs": ("serving_default", {"images": some, "more": some}),
        "another type": ("serving_default", {"images": some.astype("float32")}),
        "another rank": ("serving_default", {"images": some[0]}),
        "another size": ("serving_default", {"images": some[:, 1:]}),
        "pixels as files": ("serving_bytes", {"image_bytes": some}),
        "files of rank 2": ("serving_bytes", {"image_bytes": good[np.newaxis]}),
        **{
            name: ("serving_bytes", {"image_bytes": np.array([good[0], content], object)})
            for name, content in texts.items()
        },
    }


def ask(
    address: str,
    loader: Loader,
    images: np.ndarray,
    expected: dict[str, np.ndarray],
    *,
    requests: int,
    clients: int,
    sizes: tuple[int, ...] = (1, 1, 1, 2, 7, 32),
    wrong: float = 0.1,
    seed: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Sends requests of random images, and compares each answer.

    Args:
        address: of the server.
        loader: behind it, whose memory is looked at.
        images: uint8, (N, H, W, 1).
        expected: outputs for them, by name.
        requests: how many.
        clients: at the same time.
        sizes: how many images a request has, drawn from these.
        wrong: part of the requests that are wrong ones.
        seed: of what is drawn.
        progress: is called with how many are done, after each tenth.
    """
    answers, files = Answers(), np.array([png(image) for image in images], object)
    wrong_ones = wrong_requests(images)
    parts = [range(first, requests, clients) for first in range(clients)]

    def send(client: Client, draw: random.Random) -> tuple:
        if draw.random() < wrong:
            name = draw.choice(list(wrong_ones))
            try:
                client.predict(*wrong_ones[name])
            except grpc.RpcError as error:
                is_told = error.code() == grpc.StatusCode.INVALID_ARGUMENT and error.details()
                return "" if is_told else f"{name}: {error.code()}", name, 0.0
            return f"{name}: answered", name, 0.0
        signature, size = draw.choice(SIGNATURES), draw.choice(sizes)
        chosen = [draw.randrange(len(images)) for _ in range(size)]
        inputs = (
            {"images": images[chosen]}
            if signature == SIGNATURES[0]
            else {"image_bytes": files[chosen]}
        )
        started = time.perf_counter()
        found = client.predict(signature, inputs)
        seconds = time.perf_counter() - started
        is_right = (
            found.keys() == expected.keys()
            and np.allclose(found["scores"], expected["scores"][chosen], atol=_TOLERANCE)
            and (found["class_id"] == expected["class_id"][chosen]).all()
            and (found["label"] == expected["label"][chosen]).all()
        )
        return "" if is_right else f"{signature}, {chosen}", (signature, size), seconds

    def work(client: Client, part: range) -> list[tuple]:
        # Each request is drawn by its number, whoever sends it.
        return [send(client, random.Random(f"{seed} {number}")) for number in part]

    connections = [Client(address) for _ in range(clients)]
    started, done = time.perf_counter(), 0
    try:
        with concurrent.futures.ThreadPoolExecutor(clients) as executor:
            for tenth in range(10):
                now = [part[len(part) * tenth // 10 : len(part) * (tenth + 1) // 10]
                       for part in parts]  # fmt: skip
                for results in executor.map(work, connections, now):
                    for fault, kind, seconds in results:
                        if fault:
                            answers.faults.append(fault)
                        elif isinstance(kind, str):
                            answers.refused[kind] = answers.refused.get(kind, 0) + 1
                        else:
                            answers.seconds.setdefault(kind, []).append(seconds)
                    done += len(results)
                answers.megabytes.append(loader.megabytes())
                progress(done)
    finally:
        for connection in connections:
            connection.close()
    answers.elapsed = time.perf_counter() - started
    return answers
