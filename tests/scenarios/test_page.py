"""The admin listener's page as a browser shows it: of a real gateway in a chain, and of one with names made to do harm.

The second has no gateway behind it: its numbers are a scoreboard's, made up, and its names are none that a
configuration could hold. What serves it sends the product's files and headers.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from gateway import health
from gateway.page import assets
from gateway.page.facts import Facts, ListenerFacts, PeerFacts
from gateway.page.live import Live
from pools.link_health import LinkState
from pools.net.clock import monotonic_ns
from pools.net.link_board import LinkCell
from pools.net.scoreboard import Cell, ChildState, Layout, Scoreboard
from tests.scenarios.harness.browser import Browser, browsing
from tests.scenarios.harness.configuration import forward, proxy, to_toml
from tests.scenarios.harness.overlay import Chain, Station, running_chain
from tests.scenarios.peers_under_test import Destination, connect

DESKTOP, PHONE = (1280, 900), (375, 812)
MEGABYTE = bytes(1 << 20)
HOSTILE = (
    '<img src="https://example.invalid/x" onerror="alert(1)">',
    "';alert(1)//",
    "</title><script>alert(1)</script>",
)
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
OVERLAPS = """(() => {
    const labels = [...document.querySelectorAll("#map .label:has(.name)")];
    const texts = labels.map((each) => [each.textContent, each.getBBox()]);
    return texts.flatMap(([one, a], place) => texts.slice(place + 1).filter(([, b]) =>
        a.x < b.x + b.width && b.x < a.x + a.width && a.y + 2 < b.y + b.height && b.y + 2 < a.y + a.height,
    ).map(([other]) => `${one} / ${other}`));
})()"""
IS_INJECTED = "Boolean(document.querySelector('img, iframe, main script, [onerror]'))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser")) as found:
        yield found


@contextmanager
def two_gateways(directory: Path, destination: Destination) -> Iterator[Chain]:
    ingress = Station(knows=["mumbai"], listens=[forward(destination.port, name="orders", via=["mumbai"])])
    with running_chain(directory, oregon=ingress, mumbai=Station()) as chain:
        yield chain


def send_a_megabyte(chain: Chain, destination: Destination) -> None:
    with connect(chain["oregon"].port("orders")) as near, destination.accept() as far:
        near.sendall(MEGABYTE)
        left = len(MEGABYTE)
        while left:
            left -= len(far.recv(left))


def add_listener(chain: Chain, name: str) -> None:
    """Give the first gateway one more listener, by a reload."""
    file = chain["oregon"].runtime_dir.with_suffix(".toml")
    file.write_text(to_toml([proxy(name=name)], {}) + file.read_text())
    done = chain["oregon"].command("reload")
    assert done.returncode == 0, done.stderr


def is_in(selector: str, pattern: str) -> str:
    """Give an expression that is true when a pattern is found in an element's text."""
    return f"new RegExp({json.dumps(pattern)}).test(document.querySelector({json.dumps(selector)}).innerText)"


def label(selector: str) -> str:
    """Give an expression of what an element says to those who cannot see it."""
    return f"document.querySelector({json.dumps(selector)}).getAttribute('aria-label')"


def test_a_gateway_is_shown_as_it_is_through_a_reload_and_as_out_of_reach_once_it_is(
    tmp_path: Path, browser: Browser
) -> None:
    with Destination() as destination, two_gateways(tmp_path, destination) as chain:
        host, port = chain["oregon"].admin
        origin = f"http://{host}:{port}/"
        browser.view(*DESKTOP)
        browser.open(origin)
        browser.wait_for(is_in("#health", "^. (well|degraded)$"))  # a busy machine's loops are late
        assert browser.text("#name") == "oregon"
        with connect(chain["oregon"].port("orders")), destination.accept():
            send_a_megabyte(chain, destination)
            browser.wait_for(is_in("#pools tbody tr", r"^mumbai\s+up\s+[\d.]+ ms\s.* %\s+1\s"))
            browser.wait_for(is_in("#listeners tbody tr", r"^orders\s+forward\s.*\smumbai\s+1\s+2\s+0\s"))
            browser.wait_for(is_in("#sessions strong", "^1$"))
        has_moved = f"/at most [1-9][0-9.]* [kM]bit.s in the last 10 minutes/.test({label('#throughput svg')})"
        browser.wait_for(has_moved)
        assert browser.evaluate(label("#map svg")).startswith("Map of 1 peer: 1 up.")
        assert browser.evaluate(is_in("#workers tbody tr", r"^0\s+\S+\s+ready\s"))
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith(origin)] == []
        add_listener(chain, "late")
        browser.wait_for(is_in("#listeners", r"\nlate\s+mixed\s"))
        browser.wait_for(is_in("#about", r"configuration no\. 2, reloaded .* ago$"))
        assert browser.evaluate(has_moved)  # though the process that told it is another
        assert browser.complaints == []
        chain["mumbai"].end()
        browser.wait_for(is_in("#incidents", "mumbai: link went down"))
        browser.wait_for(is_in("#map-title", "0 of 1 up"))
        browser.wait_for(is_in("#reasons", "mumbai"))
        browser.wait_for(is_in("#health", "degraded"))
        chain["oregon"].end()
        browser.wait_for(is_in("#lost", "cannot be reached: no connection"))
        assert browser.text("#name") == "oregon"


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[str]:
    """Serve the page of 64 workers and 50 peers whose names are markup or endless; gives its address."""
    names = [*HOSTILE, "a" * 64, *(f"site-{number}" for number in range(len(HOSTILE) + 1, 50))]
    facts = Facts(
        name=HOSTILE[0],
        version="0.1.0",
        listeners=tuple(ListenerFacts(number, name, "mixed", name) for number, name in enumerate(HOSTILE)),
        peers=tuple(PeerFacts(number, name, "b" * 99, 16, 512) for number, name in enumerate(names)),
    )
    board = Scoreboard.create(
        tmp_path / "board", Layout(64, len(HOSTILE), 50), supervisor_pid=os.getpid(), started_ns=monotonic_ns()
    )
    for row in (*board.workers, board.broker):
        row[Cell.PID], row[Cell.STATE], row[Cell.SESSIONS_LIMIT] = os.getpid(), ChildState.READY, 1000
        row[Cell.BOOTED_NS] = row[Cell.HEARTBEAT_NS] = monotonic_ns()
    for number in range(50):
        link, state = board.links.link(number), list(LinkState)[number % 3]
        link[LinkCell.STATE], link[LinkCell.RTT_US], link[LinkCell.LENT] = (
            state.number,
            250_000 - number * 4_000,
            number,
        )
    live = Live(board, facts, judge=lambda status: health.judge(status, peers=dict(enumerate(names))))
    live.turn(monotonic_ns())
    board.links.link(0).add(LinkCell.WENT_DOWN_TOTAL)
    live.turn(monotonic_ns() + 10**9)
    with serving(live) as url:
        yield url
    board.close()


@contextmanager
def serving(live: Live) -> Iterator[str]:
    files = assets.load()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            document = json.dumps(live.document(after_ms=-1, now_ns=monotonic_ns())).encode()
            answer = assets.Asset("application/json", document) if path == "/page.json" else files[path]
            self.send_response(200)
            for name, value in (("Content-Type", answer.type), *assets.HEADERS):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_many_peers_with_names_made_to_do_harm_are_text_and_fit_a_phone(crowded: str, browser: Browser) -> None:
    browser.view(*PHONE, dark=True)
    browser.open(crowded)
    browser.wait_for("document.querySelectorAll('#pools tbody tr').length === 50")
    assert browser.text("#name") == HOSTILE[0]
    for name in HOSTILE:
        shown = f"[...document.querySelectorAll('#pools th')].filter((each) => each.textContent === {json.dumps(name)})"
        assert browser.evaluate(f"{shown}.length") == 1, name
    assert browser.evaluate(f"document.querySelector('#incidents').textContent.includes({json.dumps(HOSTILE[0])})")
    assert browser.evaluate("document.querySelectorAll('#map .node').length") == 50
    assert browser.evaluate("document.querySelectorAll('#workers tbody tr').length") == 65  # the broker's, too
    assert browser.evaluate(FITS)
    browser.view(*DESKTOP)
    assert browser.evaluate(FITS)
    assert not browser.evaluate(IS_INJECTED)
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith(crowded)] == []


def test_no_label_of_the_map_stands_on_another(crowded: str, browser: Browser) -> None:
    browser.open(crowded)
    for width, height in (DESKTOP, PHONE):
        browser.view(width, height)
        browser.wait_for(
            "document.querySelector('#map svg')?.clientWidth === document.querySelector('#map').clientWidth"
        )
        assert browser.evaluate("document.querySelectorAll('#map .label .name').length") == 50
        assert browser.evaluate(OVERLAPS) == []
