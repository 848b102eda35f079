"""A few requests by gRPC; `python -m tests.serving` sends thousands."""

import contextlib

import grpc
import numpy as np
import pytest

from tests.serving import load, service
from tests.serving.__main__ import exported
from tests.serving.loader import Loader


@pytest.fixture(scope="module")
def running(loader_program, tmp_path_factory):
    """A server's address, the loader behind it, images, and what Keras says of them."""
    path, images, expected = exported(tmp_path_factory.mktemp("serving"))
    loader = Loader(loader_program, path)
    with service.served(loader) as address:
        yield address, loader, images, expected
    assert loader.close() == 0


@pytest.fixture
def client(running):
    with contextlib.closing(service.Client(running[0])) as client:
        yield client


def test_right_and_wrong_ones_at_the_same_time(running):
    answers = load.ask(*running, requests=120, clients=3, sizes=(1, 3), wrong=0.4)
    assert answers.faults == []
    assert {signature for signature, _ in answers.seconds} == set(load.SIGNATURES)
    right, wrong = sum(map(len, answers.seconds.values())), sum(answers.refused.values())
    assert right + wrong == 120
    assert min(right, wrong) > 30


def test_another_answer_is_a_fault(running):
    address, loader, images, expected = running
    other = {**expected, "scores": expected["scores"][::-1]}
    answers = load.ask(address, loader, images, other, requests=10, clients=1, wrong=0.0)
    assert len(answers.faults) == 10


def test_default_signature(running, client):
    _, _, images, expected = running
    found = client.predict("", {"images": images[:2]})
    np.testing.assert_allclose(found["scores"], expected["scores"][:2], atol=1e-5)


def test_each_wrong_one_is_refused(running, client):
    _, _, images, expected = running
    for request in load.wrong_requests(images).values():
        with pytest.raises(grpc.RpcError) as caught:
            client.predict(*request)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    empty = client.predict("serving_default", {"images": images[:0]})
    assert empty["scores"].shape == (0, expected["scores"].shape[1])
