import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.link_health import FALL, INTERVAL_S, JITTER, LONGEST_WAIT_S, RISE, LinkHealth, LinkState, RoundTrip

SILENCE_LIMIT_S = 5.0


def answered(health: LinkHealth, now_s: float, *, rtt_s: float = 0.1, jitter: float = 0.5) -> LinkHealth:
    """Probe at `now_s` and get the answer `rtt_s` later."""
    number = health.next_number
    return health.probed(now_s=now_s, jitter=jitter).answered(number, now_s=now_s + rtt_s)


def unanswered(health: LinkHealth, now_s: float) -> LinkHealth:
    return health.probed(now_s=now_s, jitter=0.5).judged(now_s + LONGEST_WAIT_S)


def test_round_trips_are_smoothed_as_in_the_rfc() -> None:
    first = RoundTrip.first(0.2)
    assert (first.smoothed_s, first.variation_s) == (0.2, 0.1)
    then = first.after(0.28)
    assert then.smoothed_s == pytest.approx(7 / 8 * 0.2 + 0.28 / 8)
    assert then.variation_s == pytest.approx(3 / 4 * 0.1 + 0.08 / 4)
    assert first.timeout_s == 1.0
    assert RoundTrip.first(0.6).timeout_s == pytest.approx(1.8)


def test_the_first_probe_is_due_at_once_and_the_first_answer_is_enough() -> None:
    health = LinkHealth()
    assert health.wake_s < 0
    assert answered(health, 0.0).state is LinkState.UP


def test_before_any_answer_a_few_failures_make_it_down() -> None:
    health = LinkHealth()
    states = []
    for _ in range(FALL):
        health = health.failed()
        states.append(health.state)
    assert states == [LinkState.UNKNOWN] * (FALL - 1) + [LinkState.DOWN]


def test_an_answer_in_between_begins_the_fall_anew() -> None:
    health = answered(LinkHealth(), 0.0)
    for second in range(1, 40, 4):
        health = unanswered(unanswered(health, second), second + 2.0)
        health = answered(health, second + 3.8)
    assert health.state is LinkState.UP
    assert health.loss > 0.3


def test_it_rises_after_answers_in_a_row() -> None:
    health = LinkHealth(state=LinkState.DOWN, streak=-FALL)
    states = []
    for second in range(RISE):
        health = answered(health, float(second))
        states.append(health.state)
    assert states == [LinkState.DOWN] * (RISE - 1) + [LinkState.UP]


def test_an_answer_that_is_late_unknown_or_repeated_changes_nothing() -> None:
    health = LinkHealth().probed(now_s=0.0, jitter=0.5)
    assert health.answered(7, now_s=0.1) == health
    assert health.answered(1, now_s=LONGEST_WAIT_S) == health
    once = health.answered(1, now_s=0.1)
    assert once.answered(1, now_s=0.2) == once


def test_an_earlier_probe_may_be_answered_after_a_later_one() -> None:
    health = LinkHealth().probed(now_s=0.0, jitter=0.5).probed(now_s=1.0, jitter=0.5)
    health = health.answered(2, now_s=1.1).answered(1, now_s=1.2)
    assert (health.waiting, health.streak) == ((), 2)


def test_each_deadline_that_is_over_counts() -> None:
    health = LinkHealth()
    for second in range(FALL):
        health = health.probed(now_s=float(second), jitter=0.5)
    assert health.judged(0.5) == health
    assert health.judged(60.0).state is LinkState.DOWN


def test_waking_is_at_the_first_thing_to_do() -> None:
    health = LinkHealth().probed(now_s=10.0, jitter=0.5)
    assert health.wake_s == 10.0 + INTERVAL_S
    assert health.probed(now_s=11.0, jitter=0.5).wake_s == 10.0 + LONGEST_WAIT_S


@given(st.floats(0, 1))
def test_probes_are_apart_by_the_interval_and_its_jitter(jitter: float) -> None:
    gap_s = LinkHealth().probed(now_s=0.0, jitter=jitter).next_probe_s
    assert INTERVAL_S * (1 - JITTER) - 1e-9 <= gap_s <= INTERVAL_S * (1 + JITTER) + 1e-9


@given(
    rtt_s=st.floats(0.0001, 1.2),
    cut_s=st.floats(5, 30),
    jitters=st.lists(st.floats(0, 1), min_size=80, max_size=80),
)
def test_a_peer_that_falls_silent_is_down_within_five_seconds(rtt_s: float, cut_s: float, jitters: list[float]) -> None:
    health = LinkHealth()
    answers: dict[int, float] = {}
    last_answer_s = now_s = 0.0
    for jitter in jitters:
        while True:  # what is next: an answer, a deadline or a probe
            now_s = min([max(health.wake_s, 0.0), *answers.values()])
            heard = [number for number, at_s in answers.items() if at_s <= now_s]
            for number in heard:
                last_answer_s = answers.pop(number)
                health = health.answered(number, now_s=now_s)
            health = health.judged(now_s)
            if health.state is LinkState.DOWN or health.next_probe_s <= now_s:
                break
        if health.state is LinkState.DOWN:
            break
        if now_s + rtt_s < cut_s:
            answers[health.next_number] = now_s + rtt_s
        health = health.probed(now_s=now_s, jitter=jitter)
    assert health.state is LinkState.DOWN
    assert cut_s - 3 < last_answer_s
    assert now_s - cut_s < SILENCE_LIMIT_S


@given(st.lists(st.booleans(), max_size=60))
def test_it_changes_only_after_enough_in_a_row(answers: list[bool]) -> None:
    health = answered(LinkHealth(), 0.0)
    for second, is_answered in enumerate(answers):
        before = health.state
        health = answered(health, 10.0 * second) if is_answered else unanswered(health, 10.0 * second)
        if health.state is not before:
            needed = RISE if is_answered else FALL
            assert abs(health.streak) == needed
            assert set(answers[second - needed + 1 : second + 1]) == {is_answered}
        assert 0 <= health.loss <= 1
        assert health.waiting == ()


def test_a_state_crosses_the_scoreboard_as_a_number() -> None:
    assert [state.number for state in LinkState] == [0, 1, 2]
    assert [LinkState.of_number(state.number) for state in LinkState] == list(LinkState)
    assert LinkState.of_number(3) is LinkState.of_number(-1) is LinkState.UNKNOWN is LinkState.of_number(0)
