import resource

from gateway.descriptor_limit import raise_to_hard, shortage


def test_enough_descriptors_are_not_worth_a_word() -> None:
    assert shortage(20_000, workers=2, allowed=20_192) == ""


def test_too_few_are_told_in_one_line_with_what_they_hold_and_what_to_set() -> None:
    assert shortage(20_000, workers=2, allowed=4096) == (
        "room for 3904 of limits.sessions = 20000: the limit is 4096 descriptors, and 20192 are needed; "
        "set LimitNOFILE=20192 in systemd, or lower limits.sessions"
    )


def test_a_worker_takes_one_session_under_any_limit() -> None:
    assert shortage(20_000, workers=2, allowed=64).startswith("room for 2 of")


def test_soft_limit_becomes_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
    try:
        assert raise_to_hard() == before[1]
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
