"""What peers may open: nothing that no rule means, whatever a name resolves to, and however an address is written."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pools.egress_rules import EgressRule, EgressRules, Verdict


def rules(*texts: str) -> EgressRules:
    return EgressRules.parse(texts)


def test_without_rules_nothing_may_be_opened() -> None:
    for host, address in (("db.example", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("::1", "::1")):
        assert EgressRules().judge_name(host, 443) is Verdict.DENIED
        assert not EgressRules().allows(host, address, 443)


@pytest.mark.parametrize(
    ("rule", "host", "port", "possible"),
    [
        ("10.0.0.0/8:443", "10.1.2.3", 443, True),
        ("10.0.0.0/8:443", "10.1.2.3", 444, False),
        ("10.0.0.0/8:443", "11.0.0.0", 443, False),
        ("10.0.0.0/8:443", "::ffff:10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.3", 443, True),
        ("10.1.2.3:443", "10.1.2.4", 443, False),
        ("[2001:db8::/32]:443", "2001:db8::7", 443, True),
        ("[2001:db8::/32]:443", "2001:db9::7", 443, False),
        ("[2001:db8::1]:443", "2001:db8:0::1", 443, True),
        ("[::/0]:443", "::ffff:10.1.2.3", 443, False),
        ("[fe80::/10]:443", "fe80::1", 443, True),
        ("[fe80::/10]:443", "fe80::1%lo", 443, False),
        ("0.0.0.0/0:*", "198.51.100.1", 1, True),
        ("0.0.0.0/0:*", "127.0.0.1", 1, False),
        ("0.0.0.0/0:*", "169.254.169.254", 80, False),
        ("127.0.0.1:80", "127.0.0.1", 80, True),
        ("127.0.0.0/8:80", "127.8.9.1", 80, True),
        ("169.254.169.254:80", "169.254.169.254", 80, True),
        ("[64:ff9b::/96]:80", "64:ff9b::a9fe:a9fe", 80, False),
        ("*.example:443", "10.1.2.3", 443, False),
        ("192.0.2.1:8000-8100", "192.0.2.1", 7999, False),
        ("192.0.2.1:8000-8100", "192.0.2.1", 8000, True),
        ("192.0.2.1:8000-8100", "192.0.2.1", 8100, True),
        ("192.0.2.1:8000-8100", "192.0.2.1", 8101, False),
        ("192.0.2.1:*", "192.0.2.1", 0, False),
        ("192.0.2.1:*", "192.0.2.1", 65535, True),
    ],
)
def test_an_address_is_judged_at_once(rule: str, host: str, port: int, possible: bool) -> None:
    assert rules(rule).judge_name(host, port) is (Verdict.POSSIBLE if possible else Verdict.DENIED)
    assert rules(rule).allows(host, host, port) is possible


@pytest.mark.parametrize(
    ("rule", "host", "port", "possible"),
    [
        ("db.example:443", "db.example", 443, True),
        ("db.example:443", "DB.Example.", 443, True),
        ("DB.Example.:443", "db.example", 443, True),
        ("db.example:443", "db.example", 80, False),
        ("db.example:443", "a.db.example", 443, False),
        ("db.example:443", "db.example.evil", 443, False),
        ("*.example:443", "a.example", 443, True),
        ("*.example:443", "b.a.EXAMPLE.", 443, True),
        ("*.example:443", "example", 443, False),
        ("*.example:443", "notexample", 443, False),
        ("*.example:443", "a.example.evil", 443, False),
        ("*.example:443", ".example", 443, False),
        ("*.example:443", "a\n.example", 443, False),
        ("10.0.0.0/8:443", "any.name", 443, True),
        ("10.0.0.0/8:443", "any.name", 80, False),
        ("10.0.0.0/8:443", "no name", 443, False),
        ("10.0.0.0/8:443", "", 443, False),
    ],
)
def test_a_name_is_possible_before_it_is_resolved(rule: str, host: str, port: int, possible: bool) -> None:
    assert rules(rule).judge_name(host, port) is (Verdict.POSSIBLE if possible else Verdict.DENIED)


SPECIAL = ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254"]
DISGUISED = ["::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::1", "fe80::1%lo", "10.0.0.1%lo"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "10.0.0.1", "fd00::1", "::ffff:192.0.2.1"])
def test_a_name_that_a_rule_knows_may_be_anywhere(address: str) -> None:
    assert rules("*.example:443").allows("a.example", address, 443)
    assert not rules("*.example:443").allows("a.example", address, 80)
    assert not rules("*.example:443").allows("a.other", address, 443)


@pytest.mark.parametrize("address", SPECIAL + DISGUISED)
@pytest.mark.parametrize("rule", ["*.example:443", "a.example:443"])
def test_a_name_leads_to_no_special_address(rule: str, address: str) -> None:
    assert not rules(rule, "0.0.0.0/0:443", "[::/0]:443", f"{SPECIAL[0]}:80").allows("a.example", address, 443)


@pytest.mark.parametrize("address", SPECIAL)
def test_but_where_a_rule_means_that_address_it_may(address: str) -> None:
    own = f"[{address}]:443" if ":" in address else f"{address}:443"
    assert rules("*.example:443", own).allows("a.example", address, 443)
    assert rules(own).allows("name.of.nobody", address, 443)


def test_a_name_of_no_rule_may_go_where_an_address_may() -> None:
    inside = rules("10.0.0.0/8:443", "*.example:443")
    assert inside.allows("db.internal", "10.1.2.3", 443)
    assert inside.allows("db.internal", "::ffff:10.1.2.3", 443)
    assert not inside.allows("db.internal", "192.0.2.1", 443)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1", "2130706433", "0177.0.0.1"])
def test_an_address_that_only_a_resolver_knows_as_one_is_judged_by_what_it_is(host: str) -> None:
    assert rules("*.example:443", "10.0.0.0/8:443").judge_name(host, 443) is Verdict.POSSIBLE
    assert not rules("*.example:443", "10.0.0.0/8:443").allows(host, "127.0.0.1", 443)


@pytest.mark.parametrize("address", ["", "a.example", "300.1.1.1", "1.2.3", "[::1]"])
def test_what_is_no_address_is_not_dialled(address: str) -> None:
    assert not rules("*.example:*", "0.0.0.0/0:*", "[::/0]:*").allows("a.example", address, 443)


FORM = "must be HOST:PORT, as in "
PORT = "must end in a port from 1 to 65535"
NAME = "must name a host by address, by network, by a DNS name"
V4 = "must hold an IPv4 address, or a network"
V6 = "must hold an IPv6 address, or a network"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", FORM),
        ("db.example", FORM),
        ("::1:443", FORM),
        ("2001:db8::/32:443", FORM),
        ("[2001:db8::]/32:443", FORM),
        ("[2001:db8::/32]", FORM),
        ("db.example:443\n", PORT),
        ("db.example:", PORT),
        ("db.example:0", PORT),
        ("db.example:65536", PORT),
        ("db.example:90-80", PORT),
        ("db.example:80-", PORT),
        ("db.example:80-81-82", PORT),
        ("db.example:٨٠", PORT),
        ("db.example:https", PORT),
        (":443", NAME),
        ("*:443", NAME),
        ("*.:443", NAME),
        ("*example:443", NAME),
        ("a.*.example:443", NAME),
        ("*.*.example:443", NAME),
        ("*.10.0.0.1:443", NAME),
        ("10.0.0.256:443", NAME),
        ("10.0.0:443", NAME),
        ("0x7f.0x1:443", NAME),
        ("no name:443", NAME),
        ("10.1.0.0/8:443", V4),
        ("10.0.0.0/33:443", V4),
        ("10.0.0.0/:443", V4),
        ("10.0.0.0/255.0.0.0:443", V4),
        ("db.example/8:443", V4),
        ("[10.0.0.0/8]:443", V6),
        ("[db.example]:443", V6),
        ("[]:443", V6),
        ("[2001:db8::1/32]:443", V6),
        ("[fe80::1%lo]:443", V6),
        ("[::ffff:10.0.0.1]:443", "must give an IPv4-mapped address as the IPv4 address in it"),
        ("[::ffff:10.0.0.0/104]:443", "must give an IPv4-mapped address as the IPv4 address in it"),
    ],
)
def test_a_wrong_entry_is_answered_with_its_rule(text: str, rule: str) -> None:
    with pytest.raises(ValueError) as caught:
        EgressRule.parse(text)
    assert str(caught.value).startswith(rule)
    with pytest.raises(ValueError) as caught:
        rules("db.example:443", text)
    assert str(caught.value).startswith(rule)
    assert str(caught.value).endswith(f"; found {text!r}")


# Few values, so that rules and destinations meet.
labels = st.sampled_from(["a", "b", "example", "internal"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
v4s = st.sampled_from(["10.0.0.1", "10.9.0.1", "192.0.2.1", "127.0.0.1", "169.254.169.254"]).map(IPv4Address)
v6s = st.sampled_from(["2001:db8::1", "2001:db8:1::1", "fd00::1", "::1", "fe80::1"]).map(IPv6Address)
addresses = v4s | v6s
ports = st.integers(78, 84)
widths = st.integers(0, 32)
networks = st.builds(lambda ip, width: ip_network((ip, ip.max_prefixlen - width), strict=False), addresses, widths)
hosts_of_rules = (
    names
    | names.map(lambda name: f"*.{name}")
    | networks.map(lambda network: str(network) if network.version == 4 else f"[{network}]")
)
ports_of_rules = ports.map(str) | st.just("*") | st.tuples(ports, ports).map(lambda two: f"{min(two)}-{max(two)}")
entries = st.tuples(hosts_of_rules, ports_of_rules)
written_addresses = addresses.map(str) | v4s.map(lambda ip: f"::ffff:{ip}")
LOCAL = [ip_network(text) for text in ("127.0.0.0/8", "169.254.0.0/16", "::/96", "fe80::/10")]


def justified(entry: tuple[str, str], host: str, address: str, port: int) -> bool:
    """Tell the long way whether one entry allows a connection."""
    kind, allowed = entry
    first, _, last = allowed.partition("-")
    if allowed != "*" and not int(first) <= port <= int(last or first):
        return False
    dialled = ip_address(address.removeprefix("::ffff:"))
    local = [network for network in LOCAL if dialled in network]
    if "/" in kind:
        network = ip_network(kind.strip("[]"))
        return dialled in network and all(network.prefixlen >= around.prefixlen for around in local)
    if local or host == address:
        return False
    asked, wanted = host.split("."), kind.split(".")
    return asked[-len(wanted) + 1 :] == wanted[1:] and len(asked) >= len(wanted) if "*" in kind else asked == wanted


@given(st.lists(entries, max_size=4), names | st.none(), written_addresses, ports)
def test_what_is_allowed_is_what_one_rule_allows(
    given_entries: list[tuple[str, str]], name: str | None, address: str, port: int
) -> None:
    found = rules(*(f"{host}:{allowed}" for host, allowed in given_entries))
    host = name or address
    allowed = found.allows(host, address, port)
    assert allowed is any(justified(entry, host, address, port) for entry in given_entries)
    if allowed:
        assert found.judge_name(host, port) is Verdict.POSSIBLE
    if name is None:
        assert (found.judge_name(host, port) is Verdict.POSSIBLE) is allowed


@given(st.text(max_size=40) | st.text("0123456789.:/*[]-abxf%", max_size=40))
def test_any_text_is_a_rule_or_a_value_error(text: str) -> None:
    try:
        rule = EgressRule.parse(text)
    except ValueError:
        return
    assert (rule.network is None) == bool(rule.name)
    assert 1 <= rule.ports[0] <= rule.ports[-1] <= 65535
