"""A gateway for each scenario, ended and looked after whatever the test does."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.harness.configuration import Table
from tests.scenarios.harness.gateways import Gateway

StartGateway = Callable[..., Gateway]


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Give a function that starts a gateway: listeners, then tables by name, as in `start(proxy(), limits={...})`.

    After the test each that still runs must have closed what its sessions held, and end well on SIGINT.
    """
    started: list[Gateway] = []
    with ExitStack() as endings:

        def start(*listens: Table, **tables: Mapping[str, Any]) -> Gateway:
            started.append(Gateway.configured(tmp_path / f"gateway-{len(started)}", listens, tables))
            endings.callback(started[-1].abandon)
            return started[-1].wait_ready()

        yield start
        for gateway in started:
            if gateway.is_running:
                gateway.expect_rest()
                gateway.end()
