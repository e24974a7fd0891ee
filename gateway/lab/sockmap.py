"""Joins two TCP sockets inside the kernel: a BPF program redirects what one receives to the other, past all processes.

For comparison only: the gateway does not relay like that. See bpf(2), and Documentation/bpf/map_sockmap.rst of Linux.
"""

import ctypes
import errno
import os
import platform
import socket
import struct
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280}  # of the system call, asm/unistd.h
_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_ATTACH = 0, 2, 5, 8  # enum bpf_cmd, linux/bpf.h
_SOCKMAP: Final = 15  # BPF_MAP_TYPE_SOCKMAP
_SK_SKB: Final = 14  # BPF_PROG_TYPE_SK_SKB
_STREAM_VERDICT: Final = 5  # BPF_SK_SKB_STREAM_VERDICT
_INSTRUCTION: Final = struct.Struct("=BBhi")
_LOAD_64, _MAP_FD = 0x18, 0x10  # BPF_LD|BPF_DW|BPF_IMM into r0, with BPF_PSEUDO_MAP_FD as its source
_SET, _CALL, _EXIT = 0xB7, 0x85, 0x95
_REDIRECT: Final = 52  # bpf_sk_redirect_map
_LICENSE: Final = b"GPL\0"  # the helper is for programs under it
_ATTRIBUTES: Final = 128  # bytes; what a kernel does not know of them must be 0
_libc: Final = ctypes.CDLL(None, use_errno=True)


class SockmapUnavailable(Exception):
    """This host lets nobody do that; the message says why."""


class Sockmap:
    """Redirects what `source` receives to `sink`'s other end, while it is open. A context manager. Borrows both.

    Raises:
        SockmapUnavailable: it cannot be had here.
    """

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        with ExitStack() as undo:
            try:
                sockets = _held(undo, _call(_MAP_CREATE, struct.pack("=IIIII", _SOCKMAP, 4, 4, 2, 0)))
                program = _held(undo, _load(_redirecting(sockets, key=1)))
                _call(_PROG_ATTACH, struct.pack("=IIII", sockets, program, _STREAM_VERDICT, 0))
                for key, sock in enumerate((source, sink)):
                    _insert(sockets, key, sock.fileno())
            except OSError as error:
                raise SockmapUnavailable(_reason(error)) from error
            self._undo = undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._undo.close()


def _held(undo: ExitStack, descriptor: int) -> int:
    undo.callback(os.close, descriptor)
    return descriptor


def _redirecting(sockets: int, *, key: int) -> bytes:
    """Assemble `return bpf_sk_redirect_map(skb, sockets, key, 0)`; skb is in r1 already."""
    r2, r3, r4 = 2, 3, 4
    instructions = (
        (_LOAD_64, _MAP_FD | r2, 0, sockets),
        (0, 0, 0, 0),  # its upper half
        (_SET, r3, 0, key),
        (_SET, r4, 0, 0),
        (_CALL, 0, 0, _REDIRECT),
        (_EXIT, 0, 0, 0),
    )
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in instructions)


def _load(program: bytes) -> int:
    code, license_text = ctypes.create_string_buffer(program), ctypes.create_string_buffer(_LICENSE)
    count = len(program) // _INSTRUCTION.size
    return _call(
        _PROG_LOAD, struct.pack("=IIQQ", _SK_SKB, count, ctypes.addressof(code), ctypes.addressof(license_text))
    )


def _insert(sockets: int, key: int, descriptor: int) -> None:
    at, value = ctypes.c_uint32(key), ctypes.c_uint32(descriptor)
    _call(_MAP_UPDATE, struct.pack("=IxxxxQQQ", sockets, ctypes.addressof(at), ctypes.addressof(value), 0))


def _call(command: int, attributes: bytes) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the number of bpf(2) on {platform.machine()} is not known here")
    buffer = ctypes.create_string_buffer(attributes, _ATTRIBUTES)
    found = int(_libc.syscall(number, command, buffer, _ATTRIBUTES))
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def _reason(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return "bpf(2) is not permitted here: needs CAP_BPF and CAP_NET_ADMIN"
    return f"this kernel has no sockmap for TCP: {error.strerror}"
