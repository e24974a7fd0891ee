"""Places in a network of the test's own: network namespaces, and what is done in them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

from gateway.lab import network_namespace
from tests.scenarios.harness.programs import LIMIT_S


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace, and what the test does there."""

    descriptor: int

    @property
    def under(self) -> tuple[str, ...]:
        """What a program is begun by, to run here."""
        return "nsenter", f"--net=/proc/{os.getpid()}/fd/{self.descriptor}", "--"

    def entered(self) -> AbstractContextManager[None]:
        """Be here, in this thread and those that it begins, while a block lasts."""
        return network_namespace.entered(self.descriptor)

    def run(self, *commands: str, pass_fds: tuple[int, ...] = ()) -> str:
        """Have commands run here, and give what they print; each must succeed."""
        told = ""
        with self.entered():
            for line in commands:
                done = subprocess.run(
                    line.split(), capture_output=True, text=True, timeout=LIMIT_S, check=False, pass_fds=pass_fds
                )
                assert done.returncode == 0, f"{line}: {done.stderr}"
                told += done.stdout
        return told

    def received_bytes(self, device: str) -> int:
        """Give how much has come in by a device."""
        (line,) = [line for line in self.run("cat /proc/net/dev").splitlines() if line.strip().startswith(f"{device}:")]
        return int(line.partition(":")[2].split()[0])


@contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """Give so many, each with its loopback device up and no other, for as long as the block lasts."""
    with ExitStack() as held:
        found = []
        for _ in range(count):
            found.append(Place(network_namespace.create()))
            held.callback(os.close, found[-1].descriptor)
            found[-1].run("ip link set lo up")
        yield found


def join(near: Place, far: Place, *, here: str, there: str) -> None:
    """Lay a cable between two places, whose ends are devices of these names, and up."""
    near.run(
        f"ip link add {here} type veth peer name {there} netns /proc/self/fd/{far.descriptor}",
        f"ip link set {here} up",
        pass_fds=(far.descriptor,),
    )
    far.run(f"ip link set {there} up")
