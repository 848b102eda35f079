"""Networks of their own for processes of this machine, as several machines have them; for root."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

PORT = 2222
_LINK = "machine0"
_VARIABLE = "TFCAPS_NETWORK"
# Run by a process before it has any thread: it then sees its own network alone.
JOIN = f"""
import ctypes, os

handle = os.open("/run/netns/" + os.environ["{_VARIABLE}"], os.O_RDONLY)
if ctypes.CDLL(None, use_errno=True).setns(handle, 0x40000000):
    raise OSError(ctypes.get_errno(), "setns")
os.close(handle)
"""
# What cuts the process off from all others, as a machine without power is; nobody is told.
CUT = ("ip", "link", "set", _LINK, "down")


class Networks:
    """Some networks with a machine each, with links between them.

    Args:
        names: of them, as `ip netns` knows them.
    """

    def __init__(self, names: list[str]):
        self.names = names
        self.addresses = [f"10.77.0.{number}" for number in range(1, len(names) + 1)]

    def environment(self, index: int) -> dict[str, str]:
        """What a process that begins with `JOIN` has to have in its environment."""
        return {_VARIABLE: self.names[index]}

    def mend(self) -> None:
        """Makes the links again that were cut."""
        for name in self.names:
            _ip("-n", name, "link", "set", _LINK, "up")


@contextlib.contextmanager
def two() -> Iterator[Networks]:
    """Gives two networks with a link between them, and nothing else in either."""
    networks = Networks([f"tfcaps-{os.getpid()}-{index}" for index in range(2)])
    with contextlib.ExitStack() as stack:
        for name in networks.names:
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "del", name)
        one, other = networks.names
        ends = ("netns", one, "type", "veth", "peer", "name", _LINK, "netns", other)
        _ip("link", "add", _LINK, *ends)
        for name, address in zip(networks.names, networks.addresses, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", _LINK)
            _ip("-n", name, "link", "set", "lo", "up")
        networks.mend()
        yield networks


def are_possible() -> bool:
    """Whether networks can be made here."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"tfcaps-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode == 0:
        _ip("netns", "del", name)
    return made.returncode == 0


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
