import os
import socket
from pathlib import Path

from gateway.peer_process import has_ended, peer_process


def test_both_ends_learn_who_the_other_is(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as ours:
        listener.bind(path)
        listener.listen()
        child = os.fork()
        if child == 0:
            with socket.socket(socket.AF_UNIX) as connecting:
                connecting.connect(path)
            os._exit(0)
        accepted, _ = listener.accept()
        with accepted:
            assert (peer_process(accepted).pid, peer_process(accepted).uid) == (child, os.getuid())
        assert os.waitpid(child, 0)[1] == 0
        ours.connect(path)
        assert str(peer_process(ours)) == f"pid {os.getpid()} of user {os.getuid()}"


def test_a_process_that_nobody_has_collected_has_ended() -> None:
    assert not has_ended(os.getpid())
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert has_ended(child)
    os.waitpid(child, 0)
    assert has_ended(child)
