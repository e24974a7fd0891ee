"""What the access log and `gateway sessions` say of a session, read off it while its legs are open."""

import time
from typing import TypedDict

from pools.leg import PoolLeg
from pools.net.clock import monotonic_s
from pools.net.stream import Stream
from pools.net.tcp_info import rtt_and_retransmits
from workers.access_log import UNKNOWN, EndedBy, SessionRecord, end_code
from workers.crossing import OpenRefused
from workers.greeting import endpoint_of
from workers.operator_wire import SessionRow
from workers.session import Session


class _Far(TypedDict, total=False):
    far_gateway: str
    far_where: str
    far_us: int


def session_id(slot: int, number: int) -> str:
    """Give a session's name in logs: the worker's slot and a number, unique within one life of that worker."""
    return f"{slot}-{number:x}"


def record_of(session: Session, who: EndedBy, number: int, *, slot: int) -> SessionRecord:
    """Sum up a session that `who` ended with errno `number`, 0 for none."""
    now_s = monotonic_s()
    relay = session.relay
    inbound_rtt_us, inbound_retransmits = _path(session.inbound)
    outbound_rtt_us, outbound_retransmits = _path(session.outbound if session.connected else None)
    for leg, retransmits in ((session.inbound, inbound_retransmits), (session.outbound, outbound_retransmits)):
        if isinstance(leg, PoolLeg) and retransmits > 0:
            leg.retransmits += retransmits  # the next session on it does not count them again
    return SessionRecord(
        began_s=time.time() - (now_s - session.began_s),
        session=session_id(slot, session.number),
        listener=session.listen.name,
        client=str(endpoint_of(session.client)),
        proxied_client=str(session.proxied or ""),
        destination=str(session.destination or ""),
        connected=str(endpoint_of(session.connected)) if session.connected else "",
        end=end_code(who, session.phase),
        errno=number,
        handshake_us=_span_us(session.began_s, session.requested_s),
        resolve_us=_span_us(session.requested_s, session.resolved_s),
        connect_us=_span_us(session.resolved_s, session.connected_s),
        total_us=_span_us(session.began_s, now_s),
        forward_bytes=relay.forward.moved_bytes if relay else 0,
        backward_bytes=relay.backward.moved_bytes if relay else 0,
        inbound_rtt_us=inbound_rtt_us,
        outbound_rtt_us=outbound_rtt_us,
        inbound_retransmits=inbound_retransmits,
        outbound_retransmits=outbound_retransmits,
        inbound_gateway=session.inbound.peer if isinstance(session.inbound, PoolLeg) else "",
        outbound_gateways=session.via,
        trace=session.trace_id.hex(),
        early_us=_span_us(session.began_s, session.accepted_s) if session.began_s < session.accepted_s else UNKNOWN,
        **_far(session),
    )


def row_of(session: Session) -> SessionRow:
    """Describe a live session for the operator."""
    relay = session.relay
    inbound_rtt_us, inbound_retransmits = _path(session.inbound)
    outbound_rtt_us, outbound_retransmits = _path(session.outbound if session.connected else None)
    return SessionRow(
        listener=session.listen.name,
        client=str(session.proxied or endpoint_of(session.client)),
        destination=str(endpoint_of(session.connected) if session.connected else session.destination or ""),
        age_s=monotonic_s() - session.began_s,
        forward_bytes=relay.forward.moved_bytes if relay else 0,
        backward_bytes=relay.backward.moved_bytes if relay else 0,
        inbound_rtt_us=max(inbound_rtt_us, 0),
        inbound_retransmits=max(inbound_retransmits, 0),
        outbound_rtt_us=max(outbound_rtt_us, 0),
        outbound_retransmits=max(outbound_retransmits, 0),
    )


def _far(session: Session) -> _Far:
    """Give what a gateway further on said of its part."""
    if session.opened is not None:
        opened = session.opened
        return _Far(far_gateway=opened.gateway, far_where="opened", far_us=opened.elapsed_us)
    if isinstance(session.failed, OpenRefused):
        refused = session.failed.refused
        return _Far(far_gateway=refused.gateway, far_where=refused.where.value, far_us=refused.elapsed_us)
    return _Far()


def _path(leg: Stream | None) -> tuple[int, int]:
    if leg is None or leg.fd < 0:
        return UNKNOWN, UNKNOWN
    rtt_us, retransmits = rtt_and_retransmits(leg.socket)
    return rtt_us, retransmits - leg.retransmits if isinstance(leg, PoolLeg) else retransmits


def _span_us(from_s: float, to_s: float) -> int:
    return round((to_s - from_s) * 1_000_000) if from_s and to_s else UNKNOWN
