"""What the keys of gateways that know each other mean to one another: names, peers, paths. Pure, as `rules`."""

from collections.abc import Iterator, Sequence

from gateway.config.reading import shown
from gateway.config.schema import Document, ListenTable, PeerTable
from pools.egress_rules import EgressRules, Verdict
from pools.frame_bodies import VIA_LIMIT
from pools.net.errors import Problem
from workers.settings import Mode

PATH_LIMIT = VIA_LIMIT + 1
"""Gateways on a path: the first is a peer, and an OPEN to it names the rest."""

_MISSING = "nothing"


def broken(document: Document) -> list[Problem]:
    """Tell which rules about other gateways `document` breaks."""
    return [
        *_required(document),
        *_overlay_name(document),
        *_egress(document),
        *_peers(document),
        *_paths(document),
        *_preconnect(document),
    ]


def _required(document: Document) -> Iterator[Problem]:
    overlay = document.overlay
    if (overlay is not None or document.peer) and "name" not in document.gateway.model_fields_set:
        yield Problem("gateway.name", "is required where there is [overlay] or a [[peer]]", _MISSING)
    comes_in = overlay is not None and overlay.bind is not None
    if (comes_in or document.peer) and (overlay is None or overlay.key_file is None):
        yield Problem("overlay.key_file", "is required where there is overlay.bind or a [[peer]]", _MISSING)


def _overlay_name(document: Document) -> Iterator[Problem]:
    """The listener of [overlay] is shown among the others, by this name."""
    if document.overlay is None or document.overlay.bind is None:
        return
    for index, listen in enumerate(document.listen):
        if listen.name == Mode.OVERLAY:
            rule = "must be another name where there is overlay.bind, whose listener has this one"
            yield Problem(f"listen[{index}].name", rule, shown(listen.name))


def _egress(document: Document) -> Iterator[Problem]:
    if document.egress.preserve_source and (document.overlay is None or document.overlay.bind is None):
        yield Problem("egress.preserve_source", "must be false without overlay.bind; nobody asks for anything", "true")


def _peers(document: Document) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for index, peer in enumerate(document.peer):
        key = f"peer[{index}]"
        yield from _complete(key, peer)
        yield from _pool(key, peer, document.gateway.workers)
        if peer.name is None:
            continue
        if peer.name == document.gateway.name:
            yield Problem(f"{key}.name", "must be another gateway's, and gateway.name is this one", shown(peer.name))
        if peer.name in first:
            yield Problem(f"{key}.name", f"must be unique, and {first[peer.name]} has it", shown(peer.name))
        first.setdefault(peer.name, key)


def _complete(key: str, peer: PeerTable) -> Iterator[Problem]:
    for name, value in {"name": peer.name, "address": peer.address}.items():
        if value is None:
            yield Problem(f"{key}.{name}", "is required", _MISSING)


def _pool(key: str, peer: PeerTable, workers: int | None) -> Iterator[Problem]:
    if peer.pool_max < peer.pool_min:
        rule = f"must be at least pool_min, which is {peer.pool_min}"
        yield Problem(f"{key}.pool_max", rule, str(peer.pool_max))
    if workers is not None and peer.pool_max < 2 * workers:  # each keeps two magazines
        rule = f"must be at least two for each worker, which is {2 * workers}"
        yield Problem(f"{key}.pool_max", rule, str(peer.pool_max))


def _preconnect(document: Document) -> Iterator[Problem]:
    rules = EgressRules(tuple(document.egress.allow))
    if document.egress.preconnect and document.egress.preserve_source:
        rule = "must be absent where egress.preserve_source is true; no client's address is known beforehand"
        yield Problem("egress.preconnect", rule, f"{len(document.egress.preconnect)} of them")
    for index, table in enumerate(document.egress.preconnect):
        key = f"egress.preconnect[{index}]"
        for name, value in {"to": table.to, "connections": table.connections}.items():
            if value is None:
                yield Problem(f"{key}.{name}", "is required", _MISSING)
        if table.to is not None and rules.judge_name(table.to.host, table.to.port) is Verdict.DENIED:
            yield Problem(f"{key}.to", "must be a destination that egress.allow allows", f'"{table.to}"')


def _paths(document: Document) -> Iterator[Problem]:
    names = None if any(peer.name is None for peer in document.peer) else {str(peer.name) for peer in document.peer}
    for index, listen in enumerate(document.listen):
        key = f"listen[{index}]"
        yield from _choice(key, listen)
        yield from _source(key, listen)
        for place, path in _places(key, listen):
            yield from _path(place, path, own=document.gateway.name)
            if path and names is not None and path[0] not in names:  # a name that could not be read breaks no rule here
                yield Problem(f"{place}[0]", "must be the name of a [[peer]]", shown(path[0]))


def _source(key: str, listen: ListenTable) -> Iterator[Problem]:
    paths = [listen.via] if listen.paths is None else listen.paths
    if listen.preserve_source and [] not in paths:
        rule = "must be false where no path dials from here; egress.preserve_source of the last gateway counts there"
        yield Problem(f"{key}.preserve_source", rule, "true")


def _choice(key: str, listen: ListenTable) -> Iterator[Problem]:
    written = listen.model_fields_set
    if {"via", "paths"} <= written:
        yield Problem(f"{key}.via", "must be absent where there is paths", "both")
    if listen.paths == []:
        yield Problem(f"{key}.paths", "must have at least one path, [] being the one that dials from here", "a list")
    if "choose" in written and "paths" not in written:
        yield Problem(f"{key}.choose", "must be absent unless there is paths", shown(listen.choose.value))


def _places(key: str, listen: ListenTable) -> list[tuple[str, list[str]]]:
    """Give each path of a listener by its key."""
    several = [(f"{key}.paths[{number}]", path) for number, path in enumerate(listen.paths or [])]
    return [(f"{key}.via", listen.via), *several]


def _path(place: str, path: Sequence[str], *, own: str) -> Iterator[Problem]:
    if len(path) > PATH_LIMIT:
        yield Problem(place, f"must be at most {PATH_LIMIT} gateways", str(len(path)))
    for step, name in enumerate(path):
        if name == own:
            yield Problem(f"{place}[{step}]", "must be another gateway, and gateway.name is this one", shown(name))
        if name in path[:step]:
            yield Problem(f"{place}[{step}]", "must be a gateway that is not on the path yet", shown(name))
