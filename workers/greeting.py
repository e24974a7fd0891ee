"""What is said on a session's two legs before the payload: PROXY headers, and the client's conversation."""

from typing import Final

from pools.net.endpoint import Endpoint, unmapped
from pools.net.errors import LegError, Phase, Side
from pools.net.resolver import SocketAddress
from pools.net.stream import Stream
from workers.ingress import proxy_protocol
from workers.ingress.conversation import Conversation, Request
from workers.ingress.modes import conversation_for, destination_given
from workers.settings import Listen, Mode, ProxyHeader

_RECEIVE_BYTES: Final = 4096
_BUILD_HEADER: Final = {ProxyHeader.V1: proxy_protocol.build_v1, ProxyHeader.V2: proxy_protocol.build_v2}


def endpoint_of(address: SocketAddress) -> Endpoint:
    """Give a socket address as people write it, IPv4-mapped ones as IPv4."""
    return Endpoint(unmapped(address[0]), address[1])


class Greeting:
    """The opening words of one session, heard and said in a greenlet. Borrows both legs.

    Every call may raise StreamFailed for the inbound leg and StreamClosed.

    Attributes:
        proxied: who the client is by its PROXY protocol header; None without one.
    """

    __slots__ = ("_conversation", "_inbound", "_listen", "proxied")

    def __init__(self, inbound: Stream, listen: Listen) -> None:
        self._inbound = inbound
        self._listen = listen
        self._conversation: Conversation | None = conversation_for(listen)
        self.proxied: Endpoint | None = None

    def hear(self) -> Request:
        """Learn where the client wants to go, and who it is.

        Raises:
            LegError: the client ended before it had said that.
            ProtocolError: what it said makes no sense, or it may not.
            NotCaptured: the firewall did not lead it here.
        """
        surplus = self._hear_proxy_header() if self._listen.accept_proxy else b""
        if self._conversation is not None:
            return self._converse(self._conversation, surplus)
        destination = destination_given(self._listen, self._inbound.socket)
        assert destination is not None  # the configuration's rule for Mode.FORWARD
        return Request(destination, surplus)

    def words(self, request: Request, client: SocketAddress) -> bytes:
        """Give what the destination gets before the payload: a PROXY header, and what came with the request."""
        if self._listen.send_proxy is ProxyHeader.OFF:
            return request.early
        return self._proxy_header(request, client) + request.early

    def grant(self, bound: Endpoint) -> None:
        """Tell the client that its destination is connected, from the address `bound`, if it waits to hear that."""
        if self._conversation is not None:
            self._inbound.send_all(self._conversation.granted(bound))

    def refuse(self, error: LegError) -> bool:
        """Tell a client that has asked for something, and still waits, why it does not get it; end its leg in order.

        Returns:
            False where nobody waits for words: then a reset tells.
        """
        if self._conversation is None or self._conversation.request is None or error.side is Side.INBOUND:
            return False
        self._inbound.close_after(self._conversation.denied(error))
        return True

    def _converse(self, conversation: Conversation, surplus: bytes) -> Request:
        if surplus:
            self._inbound.send_all(conversation.receive(surplus))
        while conversation.request is None:
            self._inbound.send_all(conversation.receive(self._receive()))
        return conversation.request

    def _hear_proxy_header(self) -> bytes:
        """Take the client's true address and give what came behind the header."""
        buffer = b""
        while (parsed := proxy_protocol.parse(buffer)) is None:
            buffer += self._receive()
        info, size = parsed
        self.proxied = info.source
        return buffer[size:]

    def _receive(self) -> bytes:
        if data := self._inbound.receive(_RECEIVE_BYTES):
            return data
        raise LegError(Side.INBOUND, Phase.REQUEST, 0, "the client ended before it had said where to go")

    def _proxy_header(self, request: Request, client: SocketAddress) -> bytes:
        """Say who the client is, and where it connected to; of a redirected connection that is not our own address."""
        is_redirected = self._listen.mode is Mode.REDIRECT
        local = request.destination if is_redirected else endpoint_of(self._inbound.socket.getsockname())
        return _BUILD_HEADER[self._listen.send_proxy](self.proxied or endpoint_of(client), local)
