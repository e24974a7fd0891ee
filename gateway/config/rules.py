"""What the keys of a configuration mean to one another, and to this kernel. Pure: no file, no socket, no clock."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address

from gateway.config import overlay_rules
from gateway.config.reading import shown
from gateway.config.schema import Document, ListenTable
from gateway.config.surroundings import Surroundings
from pools.net.endpoint import Endpoint
from pools.net.errors import Problem

ASKING_MODES = frozenset({"socks5", "connect", "mixed"})  # the client says where it wants to go, and may say who it is
CAPTURING_MODES = frozenset({"redirect", "tproxy"})  # the firewall leads connections here that were made to others
_MISSING = "nothing"
_SOCKET_PATH_LIMIT = 107  # sun_path of unix(7), less its final zero
_LONGEST_SOCKET = "/control.sock"

Rule = Callable[[str, ListenTable], Iterator[Problem]]


def broken(document: Document, surroundings: Surroundings) -> list[Problem]:
    """Tell which rules between keys `document` breaks; keys whose value could not be read break none here."""
    return [
        *_runtime_dir(document, surroundings),
        *_listens(document),
        *_same_names(document),
        *_same_binds(document),
        *_congestion(document, surroundings),
        *_keepalive(document),
        *overlay_rules.broken(document),
    ]


def _runtime_dir(document: Document, surroundings: Surroundings) -> Iterator[Problem]:
    text = document.gateway.runtime_dir
    if text is None:
        fault = surroundings.runtime_dir_fault()
        if fault:
            yield Problem("gateway.runtime_dir", "must be a directory of this user alone, mode 0700", fault)
    elif not text.startswith("/"):
        yield Problem("gateway.runtime_dir", "must be an absolute path", shown(text))
    elif len((text + _LONGEST_SOCKET).encode()) > _SOCKET_PATH_LIMIT:
        limit = _SOCKET_PATH_LIMIT - len(_LONGEST_SOCKET)
        yield Problem(
            "gateway.runtime_dir", f"must be a path of at most {limit} bytes, as its socket's is", shown(text)
        )


def _listens(document: Document) -> Iterator[Problem]:
    if not document.listen and (document.overlay is None or document.overlay.bind is None):
        yield Problem("listen", "must have at least one [[listen]] table, unless there is overlay.bind", _MISSING)
    for key, listen in _keyed(document):
        for rule in _LISTEN_RULES:
            yield from rule(key, listen)


def _complete(key: str, listen: ListenTable) -> Iterator[Problem]:
    needed = {"name": listen.name, "bind": listen.bind, "mode": listen.mode}
    for name, value in needed.items():
        if value is None:
            yield Problem(f"{key}.{name}", "is required", _MISSING)


def _destination(key: str, listen: ListenTable) -> Iterator[Problem]:
    if listen.mode == "forward" and listen.to is None:
        yield Problem(f"{key}.to", 'is required where mode is "forward"', _MISSING)
    if listen.mode in ASKING_MODES | CAPTURING_MODES and listen.to is not None:
        yield Problem(
            f"{key}.to", 'must be absent unless mode is "forward"; clients name the destination', f'"{listen.to}"'
        )


def _users(key: str, listen: ListenTable) -> Iterator[Problem]:
    if listen.users_file is not None and listen.mode in {"forward", *CAPTURING_MODES}:
        rule = f'must be absent where mode is "{listen.mode}"; no client is asked there'
        yield Problem(f"{key}.users_file", rule, "a path")


def _captured(key: str, listen: ListenTable) -> Iterator[Problem]:
    if listen.accept_proxy and listen.mode in CAPTURING_MODES:
        rule = f'must be false where mode is "{listen.mode}"; clients know of no gateway there'
        yield Problem(f"{key}.accept_proxy", rule, "true")


def _early_syn(key: str, listen: ListenTable) -> Iterator[Problem]:
    """Nothing can be begun at a SYN that does not say where to go, or on behalf of whom."""
    if listen.early_syn and listen.mode in ASKING_MODES:
        rule = f'must be false where mode is "{listen.mode}"; clients say where they want to go after their SYN'
        yield Problem(f"{key}.early_syn", rule, "true")
    captures = listen.early_syn and listen.mode in CAPTURING_MODES
    if captures and not listen.capture:
        rule = f'is required with early_syn where mode is "{listen.mode}"; it says what the firewall leads here'
        yield Problem(f"{key}.capture", rule, _MISSING)
    if listen.capture and not captures:
        rule = 'must be absent unless early_syn is true and mode is "redirect" or "tproxy"'
        yield Problem(f"{key}.capture", rule, "a list")
    if listen.early_syn and listen.accept_proxy:
        yield Problem(
            f"{key}.early_syn", "must be false where accept_proxy is true; who the client is comes later", "true"
        )


def _dual_stack(key: str, listen: ListenTable) -> Iterator[Problem]:
    if listen.dual_stack and listen.bind is not None and ":" not in listen.bind.host:
        yield Problem(f"{key}.dual_stack", "must be false where bind is an IPv4 address", "true")


def _preconnect(key: str, listen: ListenTable) -> Iterator[Problem]:
    if not listen.preconnect:
        return
    paths = [listen.via] if listen.paths is None else listen.paths
    if listen.mode != "forward" or [] not in paths:
        rule = 'must be 0 unless mode is "forward" and a path dials from here'
        yield Problem(f"{key}.preconnect", rule, str(listen.preconnect))
    if listen.preserve_source:
        rule = "must be 0 where preserve_source is true; a connection made before there is a client is not from it"
        yield Problem(f"{key}.preconnect", rule, str(listen.preconnect))


_LISTEN_RULES: tuple[Rule, ...] = (
    _complete,
    _destination,
    _users,
    _captured,
    _early_syn,
    _dual_stack,
    _preconnect,
)


def _same_names(document: Document) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for key, listen in _keyed(document):
        if listen.name is None:
            continue
        if listen.name in first:
            yield Problem(f"{key}.name", f"must be unique, and {first[listen.name]} has it", shown(listen.name))
        first.setdefault(listen.name, key)


def _same_binds(document: Document) -> Iterator[Problem]:
    """One address and port, one listener; the admin's and the overlay's count too.

    A socket of one address beside another of all addresses is legal: the kernel hands a connection to the closer one.
    """
    first: dict[tuple[str, int], str] = {}
    for key, bind, dual_stack in _binds(document):
        for place in _places(bind, dual_stack=dual_stack):
            if place in first:
                yield Problem(key, f"must be an address and port of its own, and {first[place]} has it", f'"{bind}"')
                break
            first[place] = key


def _binds(document: Document) -> Iterator[tuple[str, Endpoint, bool]]:
    """Name what is bound, by key, and whether it takes both families."""
    if document.admin.http is not None:
        yield "admin.http", document.admin.http, False
    if document.overlay is not None and document.overlay.bind is not None:
        yield "overlay.bind", document.overlay.bind, False
    for key, listen in _keyed(document):
        if listen.bind is not None:
            yield f"{key}.bind", listen.bind, listen.dual_stack


def _places(bind: Endpoint, *, dual_stack: bool) -> list[tuple[str, int]]:
    """Name what a listener takes: [::] with dual_stack takes 0.0.0.0 as well."""
    place = _place(bind)
    return [place, ("0.0.0.0", place[1])] if dual_stack and place[0] == "::" else [place]


def _place(endpoint: Endpoint) -> tuple[str, int]:
    return str(ip_address(endpoint.host)), endpoint.port


def _congestion(document: Document, surroundings: Surroundings) -> Iterator[Problem]:
    offered = surroundings.congestion_controls
    wanted = {f"{key}.congestion": listen.congestion for key, listen in _keyed(document)}
    wanted |= {f"peer[{index}].congestion": peer.congestion for index, peer in enumerate(document.peer)}
    wanted["outbound.congestion"] = document.outbound.congestion
    for key, name in wanted.items():
        if name and offered is not None and name not in offered:
            yield Problem(key, f"must be one that this kernel offers ({', '.join(sorted(offered))})", shown(name))


def _keepalive(document: Document) -> Iterator[Problem]:
    """With a user timeout set the probe count means nothing (tcp(7)); so the shorter of the two must be the former."""
    table = document.keepalive
    lasting = table.idle + table.interval * table.probes
    if table.user_timeout >= lasting:
        rule = f"must be less than idle + interval * probes, which is {lasting}"
        yield Problem("keepalive.user_timeout", rule, str(table.user_timeout))


def _keyed(document: Document) -> Iterator[tuple[str, ListenTable]]:
    return ((f"listen[{index}]", listen) for index, listen in enumerate(document.listen))
