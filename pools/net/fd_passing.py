"""Whole messages with open descriptors between processes of one host, over AF_UNIX SOCK_SEQPACKET (unix(7)).

What the bytes mean is not known here. A message is never empty, so an empty one always is end of file.
"""

import array
import os
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from pools.net.errors import MidmileError

MESSAGE_LIMIT: Final = 65_535
"""Bytes in one message. Enough for every vocabulary here, and far below the kernel's default send buffer."""

DESCRIPTOR_LIMIT: Final = 253
"""Descriptors in one message: SCM_MAX_FD in the kernel's include/net/scm.h."""

_ANCILLARY: Final = socket.CMSG_SPACE(DESCRIPTOR_LIMIT * array.array("i").itemsize)
_TRUNCATED: Final = socket.MSG_TRUNC | socket.MSG_CTRUNC


class ChannelError(MidmileError):
    """A message that cannot pass: too long, too many descriptors, cut off, or the kernel refused it."""


class MessageCut(ChannelError):
    """One message was cut off, for want of descriptors here as a rule; it is lost, and the channel goes on."""


class ChannelClosed(ChannelError):
    """The other end is gone; nothing sent from now on will be read."""


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Make two connected ends, both non-blocking and close-on-exec. The caller owns both."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.setblocking(False)
    return ends


def send_message(sock: socket.socket, payload: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one message, all of it or nothing.

    Args:
        sock: a connected SOCK_SEQPACKET socket.
        payload: 1 to MESSAGE_LIMIT bytes.
        descriptors: at most DESCRIPTOR_LIMIT. The receiver gets copies; the caller keeps and closes its own.

    Raises:
        BlockingIOError: the socket is non-blocking and the other end has not read what was sent before.
        ChannelClosed: the other end is gone.
        ChannelError: the message breaks a limit, or the kernel refused it.
    """
    if not 0 < len(payload) <= MESSAGE_LIMIT:
        raise ChannelError(f"a message must have 1 to {MESSAGE_LIMIT} bytes; found {len(payload)}")
    if len(descriptors) > DESCRIPTOR_LIMIT:
        raise ChannelError(f"a message carries at most {DESCRIPTOR_LIMIT} descriptors; found {len(descriptors)}")
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    try:
        sock.sendmsg([payload], rights, socket.MSG_NOSIGNAL)
    except BlockingIOError:
        raise
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ChannelClosed("the other end of the channel is gone") from error
    except OSError as error:
        raise ChannelError(f"cannot send {len(payload)} bytes, {len(descriptors)} descriptors: {error}") from error


def receive_message(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Receive one message.

    Returns:
        The payload, empty at end of file, and the descriptors, close-on-exec, which the caller now owns.

    Raises:
        BlockingIOError: the socket is non-blocking and no message is there.
        MessageCut: the message was cut off by a limit. No descriptor of it stays open.
        ChannelError: the channel is of no more use.
    """
    payload, ancillary, flags = _receive(sock)
    descriptors = [number for item in ancillary for number in _rights(*item)]
    if flags & _TRUNCATED:
        close_all(descriptors)
        raise MessageCut(
            f"a message must have at most {MESSAGE_LIMIT} bytes and {DESCRIPTOR_LIMIT} descriptors,"
            " within this process's own limit of descriptors; found one that was cut off"
        )
    return payload, descriptors


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors that nobody wants."""
    for number in descriptors:
        os.close(number)


def _receive(sock: socket.socket) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
    # An end that closes with messages unread leaves ECONNRESET here once, in front of what it sent before
    # (unix_release_sock in the kernel's net/unix/af_unix.c): the second call gets that, or the end of file.
    for is_last in (False, True):
        try:
            payload, ancillary, flags, _ = sock.recvmsg(MESSAGE_LIMIT, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            raise
        except ConnectionResetError as error:
            if is_last:
                raise ChannelClosed("the other end of the channel was reset") from error
        except OSError as error:
            raise ChannelError(f"cannot receive a message: {error}") from error
        else:
            return payload, ancillary, flags
    raise AssertionError("the second attempt returns or raises")


def _rights(level: int, kind: int, content: bytes) -> list[int]:
    if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
        return []
    numbers = array.array("i")
    numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
    return numbers.tolist()
