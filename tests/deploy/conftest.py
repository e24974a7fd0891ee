"""Three hosts, an inventory of them, and a destination; made once for all tests here, which tell one story in order."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.hosts import HERE, USER, Host, Site, prepare
from tests.deploy.plays import Controller
from tests.deploy.traffic import destination

if "MIDMILE_DEPLOY_SCRATCH" not in os.environ:
    collect_ignore = ["test_an_overlay.py"]  # it needs namespaces of its own: `make deploy-test`

NAMES = ("oregon", "singapore", "mumbai")
USERS = "alice:a-password-that-is-in-a-vault\n"


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the tests have.

    Attributes:
        hosts: by name.
        dist: what `make dist` made.
        payload: what the destination's web answers.
        web: its port.
        echo: likewise, of what gives everything back.
    """

    controller: Controller
    hosts: Mapping[str, Host]
    site: Site
    dist: Path
    payload: bytes = field(repr=False)
    web: int
    echo: int

    def write_inventory(self, **changes: Mapping[str, Any]) -> None:
        """Write the inventory: the overlay's, with variables of hosts, by name, in place of their own."""
        inventory = json.dumps(_inventory(self, changes), indent=2)
        self.controller.inventory.write_text(inventory, encoding="utf-8")  # JSON is YAML


@pytest.fixture(scope="session")
def overlay() -> Iterator[Overlay]:
    scratch = Path(os.environ["MIDMILE_DEPLOY_SCRATCH"])
    groups = [Path(each) for each in os.environ["MIDMILE_DEPLOY_CGROUPS"].split(os.pathsep)]
    site = Site(scratch, Path(os.environ["MIDMILE_DEPLOY_IMAGE"]), groups)
    prepare(site)
    hosts = {name: Host(site, name, number) for number, name in enumerate(NAMES, start=11)}
    for host in hosts.values():
        host.boot()
    for host in hosts.values():
        host.wait()
    controller = _controller(scratch)
    payload = os.urandom(4 << 20)
    with destination(HERE, payload) as (web, echo):
        made = Overlay(controller, hosts, site, Path(os.environ["MIDMILE_DEPLOY_DIST"]), payload, web, echo)
        made.write_inventory()
        yield made
    for host in hosts.values():
        host.cut()


def _controller(scratch: Path) -> Controller:
    """Make the place that plays are run from, with variables of all gateways in a vault."""
    secrets = scratch / "inventory" / "group_vars" / "gateways" / "vault.yml"
    secrets.parent.mkdir(parents=True)
    secrets.write_text(json.dumps({"midmile_files": {"users": USERS}}), encoding="utf-8")
    password = scratch / "vault-password"
    password.write_text("of this run\n", encoding="utf-8")
    ansible = os.environ["MIDMILE_DEPLOY_ANSIBLE"]
    controller = Controller(scratch / "inventory" / "hosts.yml", scratch, ansible, password)
    controller.vault("encrypt", secrets)
    return controller


def _inventory(overlay: Overlay, changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    variables = {
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(overlay.site.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={overlay.site.known_hosts}",
        "midmile_dist": str(overlay.dist),
        "midmile_gateway_command": str(Path(sys.executable).with_name("gateway")),
        "midmile_key_vault_password_file": str(overlay.controller.vault_password),
        "midmile_health_wait_s": 180,
        "midmile_pool": {"pool_min": 8, "pool_max": 256},
        "midmile_lines": [{"between": ["oregon", "singapore"], "rtt_ms": 165, "rate_mbit": 100}],
        "midmile_settings": {"gateway": {"workers": 2}, "limits": {"sessions": 4000}},
    }
    hosts: dict[str, dict[str, Any]] = {name: {"ansible_host": host.address} for name, host in overlay.hosts.items()}
    hosts["oregon"] |= {"midmile_listen": listens(overlay)}
    hosts["mumbai"] |= {"midmile_egress": {"allow": [f"{HERE}:{overlay.web}", f"{HERE}:{overlay.echo}"]}}
    for name, own in changes.items():
        hosts[name] |= own
    return {"gateways": {"hosts": hosts, "vars": variables}}


def listens(overlay: Overlay) -> list[dict[str, Any]]:
    """Give oregon's listeners: one with a second path, one without, one for loads, and one for who has a password."""
    web, echo, chain = f"{HERE}:{overlay.web}", f"{HERE}:{overlay.echo}", ["singapore", "mumbai"]
    return [
        {"name": "web", "bind": "0.0.0.0:8080", "mode": "forward", "to": web, "paths": [chain, ["mumbai"]]},
        {"name": "strict", "bind": "0.0.0.0:8081", "mode": "forward", "to": web, "via": chain},
        {"name": "echo", "bind": "0.0.0.0:9000", "mode": "forward", "to": echo, "via": chain},
        {"name": "proxy", "bind": "0.0.0.0:1080", "mode": "mixed", "users_file": "users", "via": chain},
    ]
