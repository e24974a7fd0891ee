"""How far the rotation of a key is, as the key file on the controller says. Pure functions."""

from typing import Any, Final

STEPS: Final = ("add", "switch", "drop")
_MARK: Final = "# rotation: "


def rotation_steps(text: str) -> list[str]:
    """Give the steps that are still to be taken: those after the one that the file says was taken last, or all.

    Raises:
        ValueError: the file has two keys and does not say why: somebody else rotates them.
    """
    taken = [line.removeprefix(_MARK).strip() for line in text.splitlines() if line.startswith(_MARK)]
    if taken:
        return list(STEPS[STEPS.index(taken[0]) + 1 :])
    keys = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if len(keys) != 1:
        raise ValueError(f"expected one key, or a line {_MARK!r}add or switch; found {len(keys)} keys and no such line")
    return list(STEPS)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Any]:
        """Give the filters by name."""
        return {"midmile_rotation_steps": rotation_steps}
