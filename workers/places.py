"""Which listener a SYN is meant for, and which connection will come of it. No socket is asked before it must be."""

from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address

from pools.net.endpoint import Endpoint, unmapped
from pools.net.resolver import SocketAddress
from pools.net.sockopts import Socket
from workers.ingress.conversation import NotCaptured
from workers.ingress.modes import destination_given
from workers.pairing import Key
from workers.settings import Listen
from workers.syn_packet import Syn

_ANY_IPV4 = "0.0.0.0"  # to compare with
_ANY_IPV6 = "::"


class Places:
    """Where the listeners with `early_syn` stand.

    Args:
        listens: all of one worker's.
        bound: the address of each, with the port that the kernel chose where it was to.
    """

    def __init__(self, listens: Sequence[Listen], bound: Sequence[SocketAddress]) -> None:
        self._listens = tuple(listens)
        self._local = tuple(address[:2] for address in bound)
        early = [(index, listen) for index, listen in enumerate(listens) if listen.early_syn]
        self._capturing = [(index, listen.capture) for index, listen in early if listen.captures]
        self._index = {self._local[index]: index for index, listen in early if not listen.captures}
        for index, listen in early:
            if not listen.captures and listen.dual_stack and self._local[index][0] == _ANY_IPV6:
                self._index[_ANY_IPV4, self._local[index][1]] = index

    def is_early(self, index: int) -> bool:
        """Tell whether the listener at `index` wants its sessions begun at the SYN."""
        return self._listens[index].early_syn

    def is_dialled_early(self, index: int) -> bool:
        """Tell whether a connection to the destination may be made at the SYN.

        Not as the client: anybody can send a SYN in its name, and its handshake would be made in that name, too.
        """
        return not self._listens[index].preserve_source

    def of(self, syn: Syn) -> int | None:
        """Give the index of the listener that `syn` is for; None where it is none that wants to know."""
        host, port = syn.local
        found = self._index.get((host, port))  # the closer one first, as the kernel does
        if found is None:
            found = self._index.get((_ANY_IPV6 if ":" in host else _ANY_IPV4, port))
        return found if found is not None or not self._capturing else self._capturing_one(syn)

    def destination(self, index: int, syn: Syn) -> Endpoint:
        """Give where a connection that begins with `syn` wants to go: where captured, the SYN says it."""
        return self._listens[index].to or Endpoint(*syn.local)

    def key_of_syn(self, syn: Syn) -> Key:
        """Give the key of the connection that begins with `syn`."""
        return (*syn.client, *syn.local)

    def key_of(self, index: int, sock: Socket, client: SocketAddress) -> Key:
        """Give the key of a connection that was accepted, as its SYN had it."""
        host, port = self._local[index]
        if self._listens[index].captures:
            with suppress(NotCaptured):  # then nothing was begun, either
                host, port = _destination(self._listens[index], sock)
        elif host in (_ANY_IPV4, _ANY_IPV6):
            host, port = sock.getsockname()[:2]
        return _plain(client[0]), client[1], _plain(host), port

    def _capturing_one(self, syn: Syn) -> int | None:
        address, port = ip_address(syn.local[0]), syn.local[1]
        for index, targets in self._capturing:
            if any(address in target.network and target.port in (None, port) for target in targets):
                return index
        return None


def _destination(listen: Listen, sock: Socket) -> tuple[str, int]:
    given = destination_given(listen, sock)
    assert given is not None  # no client is asked there
    return given.host, given.port


def _plain(host: str) -> str:
    """Give an address as packets have it: without a zone, IPv4 as such."""
    return unmapped(host).partition("%")[0]
