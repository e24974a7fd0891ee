import select
import signal
import threading
from collections.abc import Iterator

import pytest

from gateway.signals import HEARD, SignalInbox, held_back


@pytest.fixture
def inbox() -> Iterator[SignalInbox]:
    before = {number: signal.getsignal(number) for number in HEARD}
    box = SignalInbox()
    yield box
    box.close()
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    """Signal this thread, as the supervisor has no other; a signal to the process may go to a thread of pytest's."""
    signal.pthread_kill(threading.get_ident(), number)


def test_signals_make_the_inbox_readable_and_come_in_order(inbox: SignalInbox) -> None:
    assert inbox.take() == []
    send(signal.SIGTERM)
    send(signal.SIGHUP)
    assert select.select([inbox], [], [], 30)[0] == [inbox]
    assert inbox.take() == [signal.SIGTERM, signal.SIGHUP]
    assert inbox.take() == []


def test_signals_wait_while_they_are_held_back(inbox: SignalInbox) -> None:
    with held_back():
        send(signal.SIGINT)
        assert inbox.take() == []
        assert signal.SIGINT in signal.sigpending()
    assert inbox.take() == [signal.SIGINT]


def test_closed_inbox_leaves_the_process_deaf(inbox: SignalInbox) -> None:
    second = SignalInbox()
    second.close()
    send(signal.SIGTERM)
    assert {signal.getsignal(number) for number in HEARD} == {signal.SIG_IGN}
    assert inbox.take() == []
