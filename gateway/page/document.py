"""What /page.json says of this moment: its shape, in units that the keys name. Pure.

Only what the page shows is here; programs had better read /metrics, whose names are a promise.
"""

from dataclasses import asdict
from typing import Any

from gateway.link_status import LinkStatus
from gateway.listener_status import ListenerStatus
from gateway.page.facts import Facts, ListenerFacts, PeerFacts
from gateway.reasons import Verdict
from gateway.status import ChildStatus, GatewayStatus
from pools.net.scoreboard import ChildState


def describe(facts: Facts, status: GatewayStatus, verdict: Verdict) -> dict[str, Any]:
    """Give how the gateway is, as JSON has it.

    Args:
        status: read at the same moment as what `verdict` judges.
    """
    links = {link.number: link for link in status.links}  # a reload may have changed them: then we are soon replaced
    processes = {"broker": status.broker, "admin": status.admin}
    return {
        "name": facts.name,
        "version": facts.version,
        "health": verdict.as_dict(),
        "generation": status.config_generation,
        "reload_failed": status.reload_failed,
        "reloaded_age_s": status.reloaded_age_s,
        "peers": [describe_peer(peer, links[peer.number]) for peer in facts.peers if peer.number in links],
        "workers": [{"name": str(worker.slot), **describe_child(worker)} for worker in status.workers],
        "processes": [
            {"name": name, **describe_child(child)}
            for name, child in processes.items()
            if child.state is not ChildState.ABSENT or child.restarts
        ],
    }


def describe_peer(peer: PeerFacts, link: LinkStatus) -> dict[str, Any]:
    """Give how the link to a peer is, and the pool of legs over it."""
    return asdict(peer) | {
        "state": link.state.value,
        "rtt_us": link.rtt_us,
        "rtt_variation_us": link.rtt_variation_us,
        "loss": link.loss_ppm / 1e6,
        "idle": link.idle,
        "lent": link.lent,
        "dialling": link.dialling,
        "is_crowded": link.is_crowded,
        "hits_lately": link.hits_lately,
        "misses_lately": link.misses_lately,
    }


def describe_child(child: ChildStatus) -> dict[str, Any]:
    """Give how a worker, the broker or the admin child is."""
    return {
        "state": child.state.name.lower(),
        "core": child.core,
        "sessions": child.sessions,
        "sessions_limit": child.sessions_limit,
        "sessions_per_second": child.sessions_per_second,
        "accept_paused": child.accept_paused,
        "cpu_percent": child.cpu_percent,
        "loop_lag_us": child.loop_lag_us,
        "heartbeat_age_s": child.heartbeat_age_s,
        "rss_bytes": child.rss_bytes,
        "descriptors": child.descriptors,
        "descriptors_limit": child.descriptors_limit,
        "restarts": child.restarts,
        "retires": child.retires,
    }


def describe_listener(listener: ListenerFacts, status: ListenerStatus) -> dict[str, Any]:
    """Give what a listener is, and its counts over all workers."""
    return asdict(listener) | asdict(status)
