"""What is loaded before the fork: no gevent, and enough to be worth it."""

import subprocess
import sys

from gateway.preload import SHARED


def loaded_by(code: str) -> set[str]:
    """Give the modules that a fresh interpreter has loaded after `code`."""
    said = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(said.stdout.split())


def test_it_loads_no_gevent_and_what_it_names() -> None:
    loaded = loaded_by("from gateway.preload import preload; preload()")
    assert loaded.isdisjoint({"gevent", "greenlet"})
    assert set(SHARED) <= loaded


def test_a_worker_needs_all_of_it() -> None:
    assert set(SHARED) <= loaded_by("import workers.worker, pools.broker")
