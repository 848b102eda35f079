"""Processes of this machine that share a training, as those of several machines do."""

import json
import os
import socket
from unittest import mock

from tests import forks
from tests.networks import JOIN, PORT, Networks

# What the processes begin with. The others would write into another folder than the chief's run,
# and there are no pictures, which take most of a tiny training's time.
BEGIN = """
import os, pathlib, signal, sys
from tests import runs
from tfcaps import program, training
from tfcaps.errors import UsageError
from tfcaps.training import callbacks, cluster, loop

loop._write_figures = lambda *_: None
for task in (training.CapsuleNetworkTask, training.ImageTask):
    task.figures = lambda *_, **__: ({}, {})
here = cluster.of_environment()
folder = pathlib.Path(sys.argv[1], "run" if here.is_chief else "nothing")
"""


def start(
    code: str,
    *arguments: str | os.PathLike,
    size: int = 2,
    networks: Networks | None = None,
) -> list[forks.Fork]:
    """Starts processes that run the same code, which has its run's `folder`.

    Args:
        code: of each.
        *arguments: of each; the first one is a folder for all.
        size: how many there are.
        networks: one for each of them. Default None: they share this machine's.
    """
    if networks is not None:
        addresses, begin = [f"{one}:{PORT}" for one in networks.addresses], JOIN + BEGIN
    else:
        addresses, begin = _free_addresses(size), BEGIN
    found = []
    for index in range(size):
        asked = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        own = {} if networks is None else networks.environment(index)
        with mock.patch.dict(os.environ, TF_CONFIG=json.dumps(asked), **own):
            found.append(forks.start_code(begin + code, *arguments))
    return found


def _free_addresses(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = ["127.0.0.1:{1}".format(*each.getsockname()) for each in sockets]
    for each in sockets:
        each.close()
    return addresses
