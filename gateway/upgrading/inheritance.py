"""What a supervisor is handed by the one before, at its start: everything that must stay open through an upgrade."""

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from gateway.exit_codes import ExitCode
from gateway.peer_process import peer_process
from gateway.runtime_dir import RuntimeDir
from gateway.sockets.inherited import GroupKey, Inherited
from gateway.upgrading import handover
from gateway.upgrading.handover import Kind
from gateway.upgrading.heir import HANDOVER_VARIABLE
from pools.net.errors import ProtocolError, StartError
from pools.net.fd_passing import ChannelError, close_all, receive_message, send_message
from pools.net.transport import Transport

OFFER_S: Final = 10.0
"""Within which all that is handed over must have come: it was sent before we began."""

_STDERR: Final = 2
_TRANSPORTS: Final = tuple(Transport)


@dataclass(slots=True)
class Retired:
    """A supervisor that retires since an earlier upgrade; `since_s` is by the monotonic clock, which all share."""

    channel: socket.socket
    since_s: float


@dataclass(slots=True)
class Inheritance:
    """All of it. Whoever takes a part out owns it; `close` ends the rest.

    Attributes:
        channel: to the supervisor before.
        sockets: that listen for clients.
        keys: of the groups among them, those that were taken out later, too.
        runtime_dir: the gateway's.
        control: the control socket's listener.
        lock: descriptor of the locked pid file.
        retired: supervisors of before that one.
    """

    channel: socket.socket
    sockets: Inherited = field(default_factory=Inherited)
    keys: tuple[GroupKey, ...] = ()
    runtime_dir: Path = Path()
    control: socket.socket | None = None
    lock: int = -1
    retired: list[Retired] = field(default_factory=list)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self | None:
        """Take over from the supervisor that started this process; None where none did.

        From here on stderr is where that one's log goes, and its problems are told to that one's operator by `fail`.

        Raises:
            StartError: what was announced is no channel to our parent, or what comes over it makes no sense.
        """
        announced = environment.pop(HANDOVER_VARIABLE, "")
        if not announced:
            return None
        inheritance = cls(_channel(announced))
        try:
            inheritance._receive()
        except StartError as error:
            inheritance.fail(ExitCode.CANNOT_START, str(error))
            inheritance.close()
            raise
        return inheritance

    def fail(self, code: ExitCode, why: str) -> None:
        """Say that this start has failed, and why."""
        with suppress(ChannelError, OSError):  # nobody is there to hear it; the exit code speaks, too
            send_message(self.channel, handover.encode(handover.failed(code, why)))

    def take_runtime_dir(self) -> RuntimeDir:
        """Hold the gateway's runtime directory, too.

        Raises:
            StartError: what was handed over is not its lock.
        """
        runtime = RuntimeDir.inherit(self.runtime_dir, self.lock)
        self.lock = -1
        return runtime

    def close(self) -> None:
        """Close what nobody has taken. The supervisor before has copies of all of it."""
        self.channel.close()
        self.sockets.close()
        if self.control is not None:
            self.control.close()
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1
        for each in self.retired:
            each.channel.close()

    def _receive(self) -> None:
        self.channel.settimeout(OFFER_S)
        found = 0
        try:
            while True:
                payload, descriptors = receive_message(self.channel)
                match handover.decode(payload) if payload else None:
                    case handover.Sockets(kind=kind, key=key):
                        found += len(descriptors)
                        self._take(kind, key, descriptors)
                    case handover.Offer() as offer:
                        return self._check(offer, found)
                    case other:
                        close_all(descriptors)
                        raise StartError(f"expected what the supervisor before hands over; found {other or 'its end'}")
        except (ChannelError, ProtocolError) as error:
            raise StartError(f"the supervisor before hands over what cannot be taken: {error}") from error

    def _check(self, offer: handover.Offer, found: int) -> None:
        if found != offer.descriptors or self.control is None or self.lock < 0:
            raise StartError(f"expected {offer.descriptors} descriptors of the supervisor before; found {found}")
        self.runtime_dir = Path(offer.runtime_dir)
        self.sockets.shard_seed = offer.shard_seed
        self.sockets.lent = frozenset(offer.lent)
        self.keys = tuple(self.sockets.groups)

    def _take(self, kind: Kind, key: list[str | int | bool], descriptors: list[int]) -> None:
        """Keep what came in one message."""
        match kind, key:
            case Kind.GROUP, [str(address), transport, bool(transparent), bool(dual_stack), *name] if (
                transport in _TRANSPORTS and len(name) <= 1
            ):
                group = GroupKey(address, Transport(transport), transparent, dual_stack)
                self.sockets.groups.setdefault(group, []).extend(map(_socket, descriptors))
                self.sockets.names |= {str(each): group for each in name}
            case Kind.ADMIN, [str(address)] if len(descriptors) == 1:
                self.sockets.admin[address] = _socket(descriptors[0])
            case Kind.CONTROL, [] if len(descriptors) == 1:
                self.control = _socket(descriptors[0])
            case Kind.LOCK, [] if len(descriptors) == 1:
                self.lock = descriptors[0]
            case Kind.LOG, [] if len(descriptors) == 1:
                os.dup2(descriptors[0], _STDERR)
                close_all(descriptors)
            case Kind.RETIRING, [int(since_ns)] if len(descriptors) == 1:
                self.retired.append(Retired(_socket(descriptors[0]), since_ns / 1e9))
            case _:
                close_all(descriptors)
                raise StartError(f"expected descriptors of a kind and a key that belong together; found {kind}, {key}")


def tell_failure(code: ExitCode, why: str) -> None:
    """Tell the supervisor that started this process, where one did, that it cannot go on here."""
    with suppress(StartError):
        if inheritance := Inheritance.from_environment():
            inheritance.fail(code, why)
            inheritance.close()


def _channel(announced: str) -> socket.socket:
    number, _, starter = announced.partition(":")
    try:
        pid = int(starter)
        channel = socket.socket(fileno=int(number))
    except (ValueError, OSError) as error:
        expected = "expected the number of a socket, and of a process"
        raise StartError(f"{HANDOVER_VARIABLE}: {expected}; found {announced!r}") from error
    channel.set_inheritable(False)
    is_ours = (channel.family, channel.type) == (socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if not is_ours or peer_process(channel).pid != pid:
        channel.close()
        raise StartError(f"{HANDOVER_VARIABLE}: expected a channel to the process that started this one; found another")
    return channel


def _socket(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        os.close(descriptor)
        raise StartError(f"expected a socket of the supervisor before; found descriptor {descriptor}") from error
    sock.setblocking(False)
    return sock
