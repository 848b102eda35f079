"""Processes of this machine that share a training, as those of several machines do."""

import json
import os
import socket
from unittest import mock

from tests import forks

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


def start(code: str, *arguments: str | os.PathLike, size: int = 2) -> list[forks.Fork]:
    """Starts processes that run the same code, which has its run's `folder`."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(size)]
    addresses = ["127.0.0.1:{1}".format(*each.getsockname()) for each in sockets]
    for each in sockets:
        each.close()
    found = []
    for index in range(size):
        asked = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        with mock.patch.dict(os.environ, TF_CONFIG=json.dumps(asked)):
            found.append(forks.start_code(BEGIN + code, *arguments))
    return found
