"""A finding has advice exactly when something is wrong."""

from gateway.checks.findings import Finding, Level, finding


def test_advice_is_given_only_where_something_is_wrong() -> None:
    assert finding("cores", "2", wrong=False, advice="buy one") == Finding("cores", Level.OK, "2")
    assert finding("cores", "2", wrong=True, advice="buy one") == Finding("cores", Level.WARN, "2", "buy one")


def test_json_has_the_level_as_a_word() -> None:
    assert Finding("cores", Level.FAIL, "2", "x").as_dict() == {
        "check": "cores",
        "level": "fail",
        "found": "2",
        "advice": "x",
    }
