"""What becomes of workers that do not follow, with slots that tell what was done to them.

Real ones are in test_reload.py.
"""

import signal
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gateway.arrangement import Arrangement, first
from gateway.child import Kind
from gateway.config import configuration
from gateway.reloading.changeover import ADOPT_S, Changeover, Parts, State
from gateway.sockets.letting_go import LET_GO_S, QUEUE_S
from pools.broker_post import BrokerSettings
from pools.net.endpoint import Endpoint
from pools.net.orders import Order
from pools.net.sealed import unseal
from pools.peer import Peer
from workers.settings import WorkerSettings

MADRID = Peer("madrid", Endpoint("madrid.example", 1))
MUMBAI = Peer("mumbai", Endpoint("mumbai.example", 1))
NEW_BROKER: Any = SimpleNamespace(sockets=())


@dataclass
class Slot:
    number: int
    is_settled: bool = True
    is_leaving: bool = False
    configured: list[int] = field(default_factory=list)
    signals: list[signal.Signals] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    @property
    def role(self) -> Any:
        return SimpleNamespace(number=self.number, name=f"worker {self.number}", sockets=())

    def configure(self, _role: Any, _message: Any, descriptors: tuple[int, ...]) -> None:
        self.is_settled = False
        self.configured.append(unseal(descriptors[0], WorkerSettings).limits.sessions)

    def kill(self, number: signal.Signals) -> None:
        self.signals.append(number)


class Crew:
    def __init__(self, *numbers: int) -> None:
        self.slots = [Slot(number) for number in numbers]
        self.enlisted = False
        self.broker: Broker | None = None

    def session_slots(self) -> list[Slot]:
        return self.slots

    def slot_of(self, kind: Kind) -> Any:
        return self.broker if kind is Kind.BROKER else None

    def relieve(self, slot: Any, role: Any) -> None:
        slot.relieved_by = role

    def add(self, role: Any) -> None:
        self.slots.append(Slot(role.number, is_settled=False))

    def retire(self, slot: Slot, message: Any) -> None:
        slot.is_leaving = True
        slot.orders.append(message.order)

    def enlist(self) -> None:
        self.enlisted = True


class Broker:
    """The broker's slot, whose channel may be full."""

    def __init__(self, *, hears: bool) -> None:
        self.child, self.role, self.relieved_by = object(), SimpleNamespace(sockets=()), None
        self.told: list[BrokerSettings] = []
        self._hears = hears

    def tell(self, message: Any, descriptors: tuple[int, ...]) -> bool:
        if self._hears:
            assert message.order is Order.CONFIGURE
            self.told.append(unseal(descriptors[0], BrokerSettings))
        return self._hears


class Holdings:
    awaited = 0

    def __init__(self) -> None:
        self.said: list[str] = []

    def prepare(self, _told: Any, *, admin: None) -> str:
        return f"change to {admin}"

    def take(self, change: str) -> None:
        self.said.append(f"take {change}")

    def settle(self) -> None:
        self.said.append("settle")

    def finish(self) -> None:
        self.said.append("finish")


class World:
    """A change from one worker to others, told of 2,000 sessions, that began at 100 s."""

    def __init__(self, *, before: int, after: int, broker: Broker | None = None, **more: Any) -> None:
        usual = replace(configuration.default(), peers=(MADRID,), key_file="/some.key")
        self.crew, self.holdings = Crew(*range(before)), Holdings()
        told = [replace(usual, workers=count) for count in (before, after)]
        told = [replace(each, admin=None) for each in told]
        told[1] = replace(told[1], limits=replace(usual.limits, sessions=2000), **more)
        self.crew.broker = broker
        old, new = (first(each, cores=(0,), shard_seed=7) for each in told)
        links = SimpleNamespace(use=list)
        parts = Parts(cast(Any, self.crew), cast(Any, self.holdings), cast(Any, links), self.roles)
        self.change = Changeover(parts, old, new, began_s=100.0)
        self.change.begin()

    def roles(self, arrangement: Arrangement) -> Any:
        workers = [Slot(number).role for number in arrangement.places]
        broker = NEW_BROKER if self.crew.broker else None
        return SimpleNamespace(workers=lambda: workers, broker=lambda: broker, admin=lambda: None)

    def settle(self, *numbers: int) -> None:
        for number in numbers:
            self.crew.slots[number].is_settled = True


def test_more_workers_are_started_once_those_that_live_follow_and_dealt_to_once_they_are_ready() -> None:
    world = World(before=1, after=2)
    world.change.turn(100.1)
    assert (len(world.crew.slots), world.crew.slots[0].configured) == (1, [2000])
    world.settle(0)
    world.change.turn(100.2)
    assert (len(world.crew.slots), world.crew.enlisted, world.holdings.said) == (2, False, ["take change to None"])
    world.settle(1)
    world.change.turn(100.3)
    assert (world.change.state, world.crew.enlisted) == (State.HOLDS, True)
    assert world.holdings.said == ["take change to None", "settle"]


def test_who_is_not_wanted_any_more_is_not_told_and_leaves_after_all_is_settled() -> None:
    world = World(before=2, after=1)
    world.settle(0)
    world.change.turn(100.1)
    stays, leaves = world.crew.slots
    assert (stays.orders, leaves.orders, leaves.configured) == ([], [Order.DRAIN], [])
    assert world.change.state is State.HOLDS


def test_what_nobody_wants_is_ended_once_nobody_waits_there_or_after_a_while() -> None:
    world = World(before=1, after=1)
    world.settle(0)
    world.change.turn(100.0)
    world.holdings.awaited = 3
    for now_s in (100 + LET_GO_S - 0.1, 100 + LET_GO_S, 100 + LET_GO_S + QUEUE_S - 0.1):
        world.change.turn(now_s)
        assert world.change.state is State.HOLDS
    world.change.turn(100 + LET_GO_S + QUEUE_S)
    assert (world.change.state, world.holdings.said[-1]) == (State.OVER, "finish")


def test_a_worker_that_does_not_follow_is_replaced_and_its_successor_is_waited_for() -> None:
    world = World(before=2, after=2)
    world.settle(0)
    world.change.turn(100 + ADOPT_S - 0.1)
    assert [slot.signals for slot in world.crew.slots] == [[], []]
    world.change.turn(100 + ADOPT_S)
    assert [slot.signals for slot in world.crew.slots] == [[], [signal.SIGABRT]]
    world.settle(1)
    world.change.turn(101 + ADOPT_S)
    assert (world.change.state, world.change.behind) == (State.HOLDS, [])


def test_where_even_that_does_not_help_the_others_go_on_and_it_is_told() -> None:
    world = World(before=2, after=3)
    world.settle(0)
    world.change.turn(100 + ADOPT_S)
    world.change.turn(100 + 2 * ADOPT_S)
    assert (world.change.state, len(world.crew.slots)) == (State.ADOPTING, 3)
    world.settle(2)
    world.change.turn(100 + 3 * ADOPT_S)
    world.change.turn(100 + 4 * ADOPT_S)
    assert (world.change.state, world.change.behind) == (State.HOLDS, ["worker 1"])
    assert [slot.signals for slot in world.crew.slots] == [[], [signal.SIGABRT] * 2, []]


def followed(broker: Broker, **more: Any) -> Broker:
    """Have all workers follow a change, and the broker then."""
    world = World(before=1, after=1, broker=broker, **more)
    world.change.turn(100.1)
    assert (broker.told, broker.relieved_by, broker.role) == ([], None, broker.role)  # workers first
    world.settle(0)
    world.change.turn(100.2)
    return broker


def test_a_broker_is_told_of_other_peers_and_lives_on() -> None:
    broker = followed(Broker(hears=True), peers=(MADRID, MUMBAI))
    (told,) = broker.told
    assert [(peer.name, peer.number) for peer in told.peers] == [("madrid", 0), ("mumbai", 1)]
    assert (broker.relieved_by, broker.role) == (None, NEW_BROKER)


def test_a_broker_that_nothing_concerns_is_left_alone() -> None:
    broker = followed(Broker(hears=True))
    assert (broker.told, broker.relieved_by, broker.role) == ([], None, NEW_BROKER)


@pytest.mark.parametrize(("hears", "more"), [(True, {"name": "other"}), (False, {"peers": (MADRID, MUMBAI)})])
def test_a_broker_is_replaced_where_its_legs_were_proved_otherwise_or_it_hears_nothing(
    *, hears: bool, more: dict[str, Any]
) -> None:
    broker = followed(Broker(hears=hears), **more)
    assert (broker.told, broker.relieved_by) == ([], NEW_BROKER)
