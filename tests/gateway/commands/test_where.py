"""Which gateway is meant by a file that may be wrong."""

from pathlib import Path

import pytest

from gateway.commands.where import runtime_dir_to_reload
from gateway.config.surroundings import Surroundings
from pools.net.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[gateway]\nruntime_dir = "/run/elsewhere"\nworker = 1\n', Path("/run/elsewhere")),
        ("[gateway]\nworker = 1\n", Surroundings.read().runtime_dir),
        ("gateway = 1\n", Surroundings.read().runtime_dir),
    ],
)
def test_a_wrong_file_still_names_its_gateway(tmp_path: Path, text: str, expected: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    assert runtime_dir_to_reload(None, file) == expected


def test_a_file_that_is_no_toml_names_none(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text("[gateway\n")
    with pytest.raises(ConfigurationError, match="must be TOML"):
        runtime_dir_to_reload(None, file)
    assert runtime_dir_to_reload(Path("/run/other"), file) == Path("/run/other")
