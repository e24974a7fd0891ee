from gateway.drain import GRACE_S, PROGRESS_S, Drain


def test_sessions_have_until_the_limit_and_workers_a_little_longer() -> None:
    drain = Drain(until_s=100.0)
    assert (drain.left_s(70.0), drain.left_s(100.5)) == (30.0, 0.0)
    assert not drain.is_over(100.0 + GRACE_S - 0.1)
    assert drain.is_over(100.0 + GRACE_S)


def test_one_that_begins_now_may_only_shorten_it() -> None:
    drain = Drain(until_s=100.0)
    assert drain.gives_more(5.0, 70.0)
    assert not drain.gives_more(30.0, 70.0)
    assert not drain.gives_more(31.0, 70.0)


def test_a_line_is_due_at_first_and_then_now_and_then() -> None:
    drain = Drain(until_s=100.0)
    assert [drain.is_line_due(now_s) for now_s in (1.0, 1.0, PROGRESS_S, PROGRESS_S + 1.0, 2 * PROGRESS_S)] == [
        True, False, False, True, False,
    ]  # fmt: skip
