"""Pipes that are lent, given back, and never lent with somebody's bytes in them."""

import fcntl
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from pools.net.pipes import SIZE_BYTES, Pipe, PipeCache


def is_open(descriptor: int) -> bool:
    return os.path.exists(f"/proc/self/fd/{descriptor}")


def lend(cache: PipeCache) -> Pipe:
    pipe = cache.take()
    assert pipe is not None
    return pipe


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_pipe_is_large_does_not_block_and_ends_at_exec() -> None:
    pipe = lend(PipeCache())
    assert fcntl.fcntl(pipe.write_fd, fcntl.F_GETPIPE_SZ) == SIZE_BYTES
    for descriptor in (pipe.read_fd, pipe.write_fd):
        assert not os.get_blocking(descriptor)
        assert not os.get_inheritable(descriptor)
    pipe.close()


def test_an_empty_pipe_is_lent_again() -> None:
    cache = PipeCache()
    pipe = lend(cache)
    assert cache.lent == 1
    cache.give(pipe, empty=True)
    assert cache.lent == 0
    assert lend(cache) is pipe
    cache.give(pipe, empty=True)
    cache.close()
    assert not is_open(pipe.read_fd)


def test_a_pipe_with_bytes_in_it_is_closed_and_never_lent_again() -> None:
    cache = PipeCache()
    pipe = lend(cache)
    os.write(pipe.write_fd, b"one session's secret")
    cache.give(pipe, empty=False)
    assert (cache.lent, is_open(pipe.read_fd), is_open(pipe.write_fd)) == (0, False, False)


def test_no_more_exist_than_allowed() -> None:
    cache = PipeCache(most=2)
    first, second = lend(cache), lend(cache)
    assert (cache.take(), cache.lent) == (None, 2)
    cache.give(first, empty=True)
    assert lend(cache) is first
    cache.give(first, empty=True)
    cache.give(second, empty=True)
    cache.close()


def test_without_descriptors_there_is_no_pipe_and_no_error() -> None:
    cache = PipeCache()
    before = os.listdir("/proc/self/fd")
    with no_descriptor_left():
        assert cache.take() is None
    assert cache.lent == 0
    assert os.listdir("/proc/self/fd") == before


def test_an_idle_pipe_is_lent_even_without_descriptors() -> None:
    cache = PipeCache()
    pipe = lend(cache)
    cache.give(pipe, empty=True)
    with no_descriptor_left():
        assert cache.take() is pipe
    cache.give(pipe, empty=True)
    cache.close()
