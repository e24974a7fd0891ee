"""Which paths a session tries, as the links change."""

from pools.net.endpoint import Endpoint
from pools.path_choice import SAMPLES, Choose, PathSample
from workers.routing import Path, Routes
from workers.settings import Listen, Mode

MUMBAI: Path = ("mumbai",)
PUNE: Path = ("singapore", "pune")
HERE: Path = ()
ALL = (MUMBAI, PUNE, HERE)


def up(rtt_s: float | None = None, loss: float = 0.0) -> PathSample:
    return PathSample(is_up=True, rtt_s=rtt_s, loss=loss)


DOWN = PathSample(is_up=False)


class Links:
    """What is known of each path, as the test says it."""

    def __init__(self, *paths: Path, choose: Choose = Choose.FIRST, **known: PathSample) -> None:
        self.known = known
        self.asked: list[Path] = []
        listen = Listen("orders", Endpoint("127.0.0.1", 0), Mode.SOCKS5, paths=paths, choose=choose)
        self.routes = Routes([listen], self._sample)

    def _sample(self, path: Path) -> PathSample:
        self.asked.append(path)
        return self.known[path[-1]]

    def after(self, looks: int = 1, **known: PathSample) -> tuple[Path, ...]:
        self.known |= known
        for _ in range(looks):
            self.routes.look()
        return self.routes.paths(0)


def test_the_first_that_is_up_is_tried_first_and_the_others_behind_it() -> None:
    links = Links(*ALL, mumbai=up(), pune=up())
    assert links.routes.paths(0) == ALL
    assert links.after(mumbai=DOWN) == (PUNE, HERE)
    assert links.after(pune=DOWN) == (HERE,)
    assert links.after(mumbai=up()) == (MUMBAI, HERE)
    assert links.after(pune=up()) == ALL


def test_where_none_is_up_all_are_tried() -> None:
    links = Links(MUMBAI, PUNE, mumbai=DOWN, pune=DOWN)
    assert links.routes.paths(0) == (MUMBAI, PUNE)
    assert links.after(pune=up()) == (PUNE,)


def test_the_fastest_is_left_only_for_one_that_stays_better() -> None:
    links = Links(MUMBAI, PUNE, choose=Choose.FASTEST, mumbai=up(0.100), pune=up(0.090))
    assert links.routes.paths(0) == (PUNE, MUMBAI)
    assert links.after(10, mumbai=up(0.080)) == (PUNE, MUMBAI)  # better by too little
    assert links.after(SAMPLES - 1, mumbai=up(0.050)) == (PUNE, MUMBAI)
    assert links.after() == (MUMBAI, PUNE)


def test_a_rival_that_falls_back_begins_anew() -> None:
    links = Links(MUMBAI, PUNE, choose=Choose.FASTEST, mumbai=up(0.050), pune=up(0.100))
    assert links.after(SAMPLES - 1, pune=up(0.020)) == (MUMBAI, PUNE)
    assert links.after(pune=up(0.100)) == (MUMBAI, PUNE)
    assert links.after(SAMPLES - 1, pune=up(0.020)) == (MUMBAI, PUNE)
    assert links.after() == (PUNE, MUMBAI)


def test_the_fastest_that_goes_down_is_left_at_once() -> None:
    links = Links(MUMBAI, PUNE, choose=Choose.FASTEST, mumbai=up(0.050), pune=up(0.100))
    assert links.after(mumbai=DOWN) == (PUNE,)


def test_a_loss_makes_a_path_slower() -> None:
    links = Links(MUMBAI, PUNE, choose=Choose.FASTEST, mumbai=up(0.100, loss=0.05), pune=up(0.120))
    assert links.routes.paths(0) == (PUNE, MUMBAI)


def test_nobody_is_asked_where_there_is_no_choice() -> None:
    links = Links(MUMBAI, mumbai=DOWN)
    assert links.after(3) == (MUMBAI,)
    assert links.asked == []


def test_nobody_is_asked_about_dialling_from_here() -> None:
    links = Links(*ALL, mumbai=up(), pune=up())
    assert links.asked == [MUMBAI, PUNE]


def test_each_listener_has_its_own() -> None:
    bind = Endpoint("127.0.0.1", 0)
    listens = [
        Listen("orders", bind, Mode.SOCKS5, paths=(MUMBAI, HERE)),
        Listen("overlay", bind, Mode.OVERLAY),
        Listen("files", bind, Mode.SOCKS5, paths=(PUNE, MUMBAI)),
    ]
    routes = Routes(listens, lambda path: DOWN if path == MUMBAI else up())
    assert [routes.paths(index) for index in range(3)] == [(HERE,), (HERE,), (PUNE,)]
