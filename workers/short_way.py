"""The short way of setting a session up: without a greenlet, where there is nothing to wait for but one connection.

Nothing has to be heard from the client or the resolver, and no other gateway is crossed. It saves 9 % of what a short
session costs. The long way is `workers.setting_up`.
"""

from functools import partial
from typing import TYPE_CHECKING, Final

from pools.net.endpoint import Endpoint
from pools.net.errors import LegError, Phase
from pools.net.resolver import Address, SocketAddress, literal
from pools.net.stream import Stream
from workers.egress import Ready
from workers.head_start import from_here
from workers.ingress.conversation import NotCaptured
from workers.ingress.modes import destination_given
from workers.peer_greeting import PeerGreeting
from workers.preconnect import ready_for
from workers.preserved_source import source_of
from workers.routing import Path
from workers.settings import ProxyHeader

if TYPE_CHECKING:
    from workers.session import Session

_FROM_HERE: Final[tuple[Path, ...]] = ((),)


def take(session: "Session") -> bool:
    """Dial for `session` if this way is open to it, in the hub; tell whether it is."""
    destination = _known_destination(session)
    ahead = from_here(session.ahead)
    if ahead is None and destination is not None and (ready := ready_for(session, destination)) is not None:
        _go_at_once(session, destination, ready)
        return True
    address = _only_address(session, destination) if ahead is None else ahead.address
    if destination is None or address is None or not session.may_dial(address):
        return False
    session.destination = destination
    session.requested_s = session.resolved_s = session.began_s
    session.phase = Phase.CONNECT
    session.inbound.on_readable = session.inbound_stirs
    try:
        begun = None if ahead is None else ahead.take()
        outbound = begun or session.egress.begin(destination, address, source=source_of(session))
    except LegError as error:
        session.refuse(error)
        return True
    session.outbound, session.ahead = outbound, None
    if ahead is not None and ahead.answered_s:
        _dialled(session, destination, outbound, address, at_s=ahead.answered_s)
    else:
        outbound.on_writable = partial(_dialled, session, destination, outbound, address)
    return True


def _known_destination(session: "Session") -> Endpoint | None:
    """Give the destination if nobody has to be heard to know it, and it is dialled from here."""
    listen, origin = session.listen, session.origin
    if origin is not None:
        return None if origin.via or session.full else origin.destination
    if listen.accept_proxy or listen.send_proxy is not ProxyHeader.OFF or listen.paths != _FROM_HERE:
        return None
    try:
        return destination_given(listen, session.inbound.socket)
    except NotCaptured:  # the long way has the words for it
        return None


def _only_address(session: "Session", destination: Endpoint | None) -> Address | None:
    if destination is None:
        return None
    if session.listen.captures:  # as many destinations as the Internet has: the resolver is not to remember each
        return literal(destination)
    return session.egress.only_address(destination)


def _go_at_once(session: "Session", destination: Endpoint, ready: Ready) -> None:
    session.destination = destination
    session.requested_s = session.resolved_s = session.began_s
    session.outbound = ready.stream
    _connected(session, ready.sockaddr)


def _dialled(
    session: "Session", destination: Endpoint, outbound: Stream, address: Address, *, at_s: float = 0.0
) -> None:
    outbound.on_writable = None
    try:
        session.egress.finish(destination, outbound)
    except LegError as error:
        session.refuse(error)
    else:
        _connected(session, address.sockaddr, at_s=at_s)


def _connected(session: "Session", sockaddr: SocketAddress, *, at_s: float = 0.0) -> None:
    session.both_connected(sockaddr, at_s=at_s)
    try:
        if session.origin is not None:
            greeting = session.greeting
            assert isinstance(greeting, PeerGreeting)
            greeting.grant()
    except LegError as error:
        session.refuse(error)
        return
    session.make_relay(None)
    session.start_relay()
