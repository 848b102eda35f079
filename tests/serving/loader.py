"""tests/export_loader.cc: built, and at work as a process that answers."""

import concurrent.futures
import hashlib
import itertools
import pathlib
import shutil
import struct
import subprocess
import threading
from collections.abc import Mapping

import filelock
import tensorflow as tf

from tests import runs

COMPILER = shutil.which("g++")


def build(cache: pathlib.Path) -> pathlib.Path:
    """The program, built with the TensorFlow wheel's headers and libraries.

    It is built again, half a minute's work, only when what it is made from has changed.

    Args:
        cache: a folder that stays.
    """
    libraries = pathlib.Path(tf.sysconfig.get_lib())
    (cc_library,) = libraries.glob("libtensorflow_cc.so.?")
    (framework_library,) = libraries.glob("libtensorflow_framework.so.?")
    source = runs.ROOT / "tests" / "export_loader.cc"
    command = [COMPILER, "-O0", "-w", *tf.sysconfig.get_compile_flags(), source]
    link = ["-Wl,--no-as-needed", cc_library, framework_library, f"-Wl,-rpath,{libraries}"]
    version = subprocess.check_output([COMPILER, "--version"], text=True)
    made_from = [tf.version.VERSION, version, source.read_text(), *map(str, command + link)]
    program = cache / hashlib.sha256("\0".join(made_from).encode()).hexdigest()
    with filelock.FileLock(cache / "lock"):
        if not program.exists():
            unfinished = cache / "unfinished"
            result = subprocess.run(
                [*command, "-o", unfinished, *link], capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, result.stderr
            unfinished.replace(program)
    return program


class RefusedError(Exception):
    """What the loader says of a request.

    Args:
        code: of `absl::Status`, which is that of gRPC.
        message: of it.
    """

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


class Loader:
    """The program with an exported folder, answering; several threads may ask.

    Args:
        program: see `build`.
        folder: the version folder.
    """

    def __init__(self, program: pathlib.Path, folder: pathlib.Path):
        self.process = subprocess.Popen(
            [program, folder, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._numbers = itertools.count()
        self._waiting: dict[int, concurrent.futures.Future] = {}
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def answer(self, signature: str, inputs: Mapping[str, bytes]) -> dict[str, bytes]:
        """The outputs by name; inputs and outputs are `TensorProto` as bytes.

        Raises:
            RefusedError: the request is wrong.
        """
        future: concurrent.futures.Future = concurrent.futures.Future()
        parts = [_text(signature.encode()), struct.pack("<I", len(inputs))]
        for name, content in inputs.items():
            parts += [_text(name.encode()), _text(content)]
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = future
            self.process.stdin.write(struct.pack("<Q", number) + b"".join(parts))
            self.process.stdin.flush()
        return future.result(timeout=60)

    def megabytes(self) -> float:
        """What the process holds in memory."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) / 1024

    def close(self) -> int:
        """Ends the process, by the end of its input; gives its exit code."""
        self.process.stdin.close()
        code = self.process.wait(timeout=60)
        self._reader.join()
        self.process.stdout.close()
        return code

    def _read(self) -> None:
        while head := self.process.stdout.read(12):
            number, code = struct.unpack("<QI", head)
            if code:
                error = RefusedError(code, self._read_text().decode())
                self._waiting.pop(number).set_exception(error)
                continue
            outputs = {}
            for _ in range(self._read_number()):
                name = self._read_text().decode()
                outputs[name] = self._read_text()
            self._waiting.pop(number).set_result(outputs)

    def _read_number(self) -> int:
        return struct.unpack("<I", self.process.stdout.read(4))[0]

    def _read_text(self) -> bytes:
        return self.process.stdout.read(self._read_number())


def _text(content: bytes) -> bytes:
    return struct.pack("<I", len(content)) + content
