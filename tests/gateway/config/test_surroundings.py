"""Who runs the gateway, and where it may keep its control socket."""

import os
from pathlib import Path

import pytest

from gateway.config.surroundings import Surroundings

NOBODY = 65534


@pytest.mark.parametrize(
    ("surroundings", "path"),
    [
        (Surroundings(uid=0, xdg_runtime_dir="/run/user/0"), "/run/midmile"),
        (Surroundings(uid=1000, xdg_runtime_dir="/run/user/1000"), "/run/user/1000/midmile"),
        (Surroundings(uid=1000), "/tmp/midmile-1000"),
        (Surroundings(uid=1000, xdg_runtime_dir="relative"), "/tmp/midmile-1000"),
        (Surroundings(uid=1000, xdg_runtime_dir="/run/user/1000", service_dir="/run/east"), "/run/east"),
    ],
)
def test_the_runtime_dir_follows_the_user(surroundings: Surroundings, path: str) -> None:
    assert surroundings.runtime_dir == Path(path)


def test_environment_and_kernel_are_read() -> None:
    surroundings = Surroundings.read({"XDG_RUNTIME_DIR": "/run/user/7"})
    assert surroundings.xdg_runtime_dir == "/run/user/7"
    assert Surroundings.read({"RUNTIME_DIRECTORY": "/run/midmile:/run/other"}).runtime_dir == Path("/run/midmile")
    assert "reno" in (surroundings.congestion_controls or ())  # always there: net/ipv4/tcp_cong.c


def with_runtime_dir(folder: Path, mode: int) -> Surroundings:
    """Make a runtime directory in `folder` for a user who is not root, this one where possible."""
    surroundings = Surroundings(uid=os.geteuid() or NOBODY, shared_dir=folder)
    surroundings.runtime_dir.mkdir()
    surroundings.runtime_dir.chmod(mode)
    if os.geteuid() == 0:
        os.chown(surroundings.runtime_dir, NOBODY, NOBODY)
    return surroundings


def test_a_shared_place_may_be_empty(tmp_path: Path) -> None:
    assert Surroundings(uid=NOBODY, shared_dir=tmp_path).runtime_dir_fault() == ""


def test_a_private_directory_is_trusted(tmp_path: Path) -> None:
    assert with_runtime_dir(tmp_path, 0o700).runtime_dir_fault() == ""


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o720])
def test_a_directory_open_to_others_is_not_trusted(tmp_path: Path, mode: int) -> None:
    surroundings = with_runtime_dir(tmp_path, mode)
    assert surroundings.runtime_dir_fault() == f"{surroundings.runtime_dir} with mode {mode:04o}"


def test_a_directory_of_somebody_else_is_not_trusted(tmp_path: Path) -> None:
    owner = tmp_path.stat().st_uid
    surroundings = Surroundings(uid=owner + 1, shared_dir=tmp_path)
    surroundings.runtime_dir.mkdir(mode=0o700)
    assert surroundings.runtime_dir_fault() == f"{surroundings.runtime_dir}, which belongs to user {owner}"


def test_a_link_is_not_trusted(tmp_path: Path) -> None:
    surroundings = Surroundings(uid=NOBODY, shared_dir=tmp_path)
    surroundings.runtime_dir.symlink_to(tmp_path)
    assert surroundings.runtime_dir_fault() == f"{surroundings.runtime_dir}, which is no directory"


def test_a_directory_that_only_its_owner_may_write_in_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "midmile").mkdir(mode=0o755)
    assert Surroundings(uid=NOBODY, xdg_runtime_dir=str(tmp_path)).runtime_dir_fault() == ""
