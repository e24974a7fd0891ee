"""Host routes that let new connections to peers begin with a large congestion window, while this gateway runs.

The kernel takes a connection's first window from the route it goes out by (initcwnd, ip-route(8)), and from nowhere
else. Made at the start and taken away at the end by short-lived children: the netlink library is no load for the
supervisor. What a killed supervisor left is on record in the runtime directory, and goes at the next start.
"""

import errno
import json
import logging
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from gateway import errand
from pools.peer import Peer

if TYPE_CHECKING:
    from gateway.windows.netlink_routes import RouteTable

_log = logging.getLogger(__name__)

_LOOKUP_S: Final = 3.0  # for all names
_LIMIT_S: Final = 10.0
_NO_RIGHT: Final = "no CAP_NET_ADMIN"
_NO_CHILD: Final = "its route could not be made, see the log"
_T = TypeVar("_T")


class RouteWindows:
    """The routes of one gateway. `close` takes them away.

    Args:
        peers: those with an initial_window get a route for each of their addresses, as they are now. What is found for
            a name stays.
        record: where it is written down which addresses these are.
        begin: make the routes now; else nothing is done before `begin` is called.

    Attributes:
        lacks: for each peer with an initial_window, why its route does not have it; empty where it does. Always the
            same mapping.
    """

    def __init__(self, peers: Iterable[Peer], *, record: Path, begin: bool = True) -> None:
        self._record = record
        self._wanted = _wishes(peers)
        self._addresses: dict[str, list[str]] = {}
        self.lacks = {name: "" for name, _, _ in self._wanted}
        self._are_ours = begin
        if begin:
            self._begin(anew=True)

    def begin(self) -> None:
        """Go on with the routes of a predecessor, whose record is there: what is as it shall be is not touched."""
        self._are_ours = True
        self._begin(anew=False)

    def follow(self, peers: Iterable[Peer]) -> None:
        """Go on with other peers: a route is touched only where the wishes for its address are others."""
        if (wanted := _wishes(peers)) != self._wanted:
            self._wanted, self._addresses = wanted, {}
            self.lacks.clear()
            self.lacks.update((name, "") for name, _, _ in wanted)
            self.begin()

    def hand_over(self) -> None:
        """Leave the routes to the supervisor that has taken over."""
        self._are_ours = False

    def renew(self) -> None:
        """Make each route a copy of the way that packets take now: call it when somebody has changed that."""
        self._widen(anew=True)

    def close(self) -> None:
        """Take the routes away that are ours."""
        if self._are_ours and self._record.exists():
            _run(partial(_clear, self._record))

    def _begin(self, *, anew: bool) -> None:
        if self._wanted or self._record.exists():
            hosts = [host for _, host, _ in self._wanted]
            self._addresses = _run(partial(_begin, hosts, self._record, anew=anew)) or {}
        self._widen(anew=anew)

    def _widen(self, *, anew: bool) -> None:
        if not self._wanted:
            return
        now = _run(partial(_widen, self._wanted, self._addresses, anew=anew))
        for name, before in self.lacks.items():
            self.lacks[name] = lack = _NO_CHILD if now is None else now[name]
            if lack and lack != before:
                _log.warning("legs to gateway %s begin with the system's window, not initial_window: %s", name, lack)
            elif before and not lack:
                _log.info("legs to gateway %s begin with initial_window again", name)


def _wishes(peers: Iterable[Peer]) -> list[tuple[str, str, int]]:
    return [(peer.name, peer.address.host, peer.initial_window) for peer in peers if peer.initial_window]


def _run(task: "partial[_T]") -> "_T | None":
    try:
        answer: _T = errand.run(task, limit_s=_LIMIT_S)
    except errand.ErrandError as error:
        _log.error("cannot see to the routes to peers: %s", error)
        return None
    return answer


# What the children do.


def _begin(hosts: Collection[str], record: Path, *, anew: bool) -> dict[str, list[str]]:
    """Clear away what was there before, find all addresses, and put them on record before there is a route.

    Args:
        anew: clear all of it away, as a killed gateway left it; else what nobody wants any more.
    """
    addresses = _look_up(hosts) if hosts else {}
    known = {address for found in addresses.values() for address in found}
    _clear(record, kept=set() if anew else known)
    if known:
        _write(record, known)
    return addresses


def _widen(
    wanted: Sequence[tuple[str, str, int]], addresses: Mapping[str, Sequence[str]], *, anew: bool
) -> dict[str, str]:
    """Make the routes, and tell for each peer what it lacks."""
    segments: dict[str, int] = {}
    for _, host, window in wanted:
        for address in addresses.get(host, ()):
            segments[address] = max(window, segments.get(address, 0))
    reasons = _widen_all(segments, anew=anew)
    return {name: _lack(host, [reasons[each] for each in addresses.get(host, ())]) for name, host, _ in wanted}


def _widen_all(segments: Mapping[str, int], *, anew: bool) -> dict[str, str]:
    """Make the routes, and tell for each address why there is none; nothing where there is one."""
    from gateway.windows.netlink_routes import NoWay, RouteTable

    reasons = dict.fromkeys(segments, "")
    with RouteTable() as table:
        there = {} if anew else {route.address: route.segments for route in table.ours()}
        for address, window in segments.items():
            if there.get(address) == window:
                continue
            try:
                _remove_ours(table, {address})  # the last copy, or one of which there was no record
                table.widen(address, window)
            except NoWay as reason:
                reasons[address] = str(reason)
            except OSError as error:
                reasons[address] = _NO_RIGHT if error.errno == errno.EPERM else f"{address}: {error.strerror}"
    return reasons


def _lack(host: str, reasons: Sequence[str]) -> str:
    """Sum up a peer's addresses: one that works is enough, for IPv6 may lead nowhere here."""
    return min(reasons, key=len) if reasons else f"{host} has no address that a route could lead to"


def _clear(record: Path, *, kept: Collection[str] = ()) -> dict[str, str]:
    """Take away what is ours of the routes on record, but for those `kept`, and the record where there are none."""
    if record.exists():
        from gateway.windows.netlink_routes import RouteTable

        with RouteTable() as table:
            _remove_ours(table, _recorded(record).difference(kept))
        if not kept:
            record.unlink()
    return {}


def _write(record: Path, addresses: Iterable[str]) -> None:
    """Put addresses on record; at no time is there less than the record before, or this one."""
    new = record.with_name(f"{record.name}.new")
    new.write_text(json.dumps(sorted(addresses)))
    new.replace(record)


def _recorded(record: Path) -> set[str]:
    try:
        return set(json.loads(record.read_text()))
    except ValueError:  # whoever wrote it was killed at it, and had not made any route yet
        return set()


def _remove_ours(table: "RouteTable", addresses: Collection[str]) -> None:
    for route in table.ours():
        if route.address in addresses:
            table.remove(route)


def _look_up(hosts: Collection[str]) -> dict[str, list[str]]:
    """Give the addresses of each host, all at once: one name that nobody answers for costs the others nothing."""
    lookups = ThreadPoolExecutor(len(hosts))
    futures = {host: lookups.submit(_addresses, host) for host in hosts}
    wait(futures.values(), _LOOKUP_S)
    lookups.shutdown(wait=False)  # what is left hangs until this child is gone
    return {host: future.result() if future.done() else [] for host, future in futures.items()}


def _addresses(host: str) -> list[str]:
    """Give the addresses of a name, or itself; without those that mean another host on each interface."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return sorted({str(sockaddr[0]) for *_, sockaddr in found if sockaddr[3:] in ((), (0,))})
