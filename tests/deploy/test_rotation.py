"""How a rotation of the key goes on, from what the key file says."""

import pytest

from deploy.ansible.roles.midmile.filter_plugins.midmile_rotation import rotation_steps


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("midmile-key-1:x\n", ["add", "switch", "drop"]),
        ("# rotation: add\nmidmile-key-1:x\nmidmile-key-1:y\n", ["switch", "drop"]),
        ("# rotation: switch\nmidmile-key-1:y\nmidmile-key-1:x\n", ["drop"]),
    ],
)
def test_it_goes_on_where_it_was(text: str, steps: list[str]) -> None:
    assert rotation_steps(text) == steps


def test_two_keys_without_a_word_are_somebody_elses_rotation_and_are_not_shown() -> None:
    with pytest.raises(ValueError, match="expected one key") as told:
        rotation_steps("midmile-key-1:secret\nmidmile-key-1:other\n")
    assert "secret" not in str(told.value)
