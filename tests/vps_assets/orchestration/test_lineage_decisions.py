"""The lineage's sensors as sequences of ticks, against a small model of Dagster: its queue, run keys and daemon."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_runs import fingerprints_of

from vps_assets.lineage.fingerprints import Fingerprint, Fingerprints, Records, basis_of
from vps_assets.lineage.graph import LINEAGE, ancestors
from vps_assets.lineage.planning import desired_fingerprints, out_of_date
from vps_assets.orchestration.lineage_decisions import FITTED, FOLLOWING, Cursor, RunRequest, State, decide, next_step
from vps_assets.tables.partitions import WHOLE
from vps_ml.recipes import Recipe, demo, small

KEYS = {"none": [WHOLE], "task": ["category", "price"], "coverage_target": ["0.3", "0.7"], "error_tolerance": ["0.5"]}
SENSORS = {"sold_listings_sensor": FOLLOWING, "retraining_sensor": FITTED}


@dataclass
class World:
    """What has landed and been made, the runs that were started, and the sensors' cursors."""

    landed: dict[str, str] = field(default_factory=dict)
    sales: int = 100
    recipe: Recipe = field(default_factory=demo)
    recorded: Records = field(default_factory=Records)
    cursors: dict[str, str | None] = field(default_factory=lambda: dict.fromkeys(SENSORS))
    queue: list[RunRequest] = field(default_factory=list)
    run_keys: set[str] = field(default_factory=set)
    made: list[tuple[str, str]] = field(default_factory=list)
    failing: bool = False
    now: float = 1e9

    def desired(self, frozen: frozenset[str] = frozenset()) -> Fingerprints:
        landed = fingerprints_of(self.landed)
        return desired_fingerprints(landed, self.sales, self.recorded, self.recipe, frozen=frozen, keys=KEYS)

    def stale(self) -> dict[str, list[str]]:
        return out_of_date(self.desired(), self.recorded.made)

    def tick(self, sensor: str, cursor_is_kept: bool = True) -> tuple[RunRequest, ...]:
        """One evaluation; the daemon skips run keys that it knows, and may die before it keeps the cursor."""
        self.now += 15
        desired = self.desired(FITTED if self.failing and sensor == "sold_listings_sensor" else frozenset())
        state = State(out_of_date(desired, self.recorded.made), desired, len(self.queue), self.now, KEYS)
        decision = decide(self.cursors[sensor], state, SENSORS[sensor])
        fresh = [request for request in decision.requests if request.run_key not in self.run_keys]
        self.queue += fresh
        self.run_keys |= {request.run_key for request in fresh}
        if cursor_is_kept:
            self.cursors[sensor] = decision.cursor
        return tuple(fresh)

    def finish(self, succeeds: bool = True) -> None:
        """The oldest run ends: its partitions are made of what there is now."""
        plan = self.queue.pop(0).plan
        for asset in plan.assets if succeeds else ():
            partitions = self.desired()[asset].keys() | self.recorded.made.get(asset, {}).keys()
            for partition in sorted(partitions):
                if LINEAGE[asset].partitions == "day" and not plan.first <= partition <= plan.last:
                    continue
                self.made.append((asset, partition))
                self.record(asset, partition)
        if set(plan.assets) <= FITTED:
            self.failing = not succeeds

    def record(self, asset: str, partition: str) -> None:
        """As the IO manager does: made from the parents as they are."""
        node, of = LINEAGE[asset], self.recorded.made.setdefault(asset, {})
        of.pop(partition, None)
        made = basis_of(asset, partition, self.recipe, self.recorded)
        basis = self.landed.get(partition) if asset == "raw_listings" else made
        if basis is not None:
            has_content = bool(node.content or node.kept_as)
            of[partition] = Fingerprint(basis, self.sales, f"c{self.sales}") if has_content else Fingerprint(basis)

    def settle(self, ticks: int = 200) -> None:
        """Both sensors tick, and every run succeeds, until neither has anything left to request."""
        quiet = 0
        for _ in range(ticks):
            requests = [request for sensor in SENSORS for request in self.tick(sensor)]
            while self.queue:
                self.finish()
            quiet = 0 if requests else quiet + 1
            if quiet > 1 and not (self.landed and self.stale()):
                return
            self.now += 6 * 3600 if quiet else 0
        raise AssertionError(f"still out of date: {self.stale()}")


def settled(**landed: str) -> World:
    world = World(landed={f"2024-01-{day[1:]}": value for day, value in landed.items()})
    world.settle()
    world.made.clear()
    return world


def test_an_empty_marketplace_requests_nothing() -> None:
    world = World()
    assert not world.tick("retraining_sensor")
    assert not world.tick("sold_listings_sensor")


def test_the_first_landing_makes_the_whole_lineage_parents_first() -> None:
    world = World(landed={"2024-01-01": "a"})
    world.settle()
    order = list(dict.fromkeys(asset for asset, _ in world.made))
    assert set(order) == set(LINEAGE)
    assert all(order.index(above) < order.index(asset) for asset in order for above in ancestors(asset))


def test_a_late_sale_makes_its_own_listing_date_and_no_other() -> None:
    world = settled(d01="a", d02="b", d03="c")
    world.landed["2024-01-02"] = "b, sold since"
    world.settle()
    for asset in ("raw_listings", "clean_listings", "quarantined_listings", "image_embeddings"):
        assert [day for made, day in world.made if made == asset] == ["2024-01-02"]


def test_the_same_rows_again_request_nothing() -> None:
    world = settled(d01="a")
    world.landed = dict(world.landed)
    world.settle()
    assert world.made == []


def test_a_burst_is_one_run_for_dates_in_a_row_and_each_gap_starts_another() -> None:
    world = settled(d01="a")
    world.landed |= {f"2024-01-{day:02}": "x" for day in (3, 4, 5, 9)}
    requests = world.tick("sold_listings_sensor")
    assert [(request.plan.first, request.plan.last) for request in requests] == [
        ("2024-01-03", "2024-01-05"),
        ("2024-01-09", "2024-01-09"),
    ]


def test_scattered_dates_wait_for_the_next_tick_rather_than_include_others() -> None:
    days = [f"2024-{month:02}-{day:02}" for month in range(1, 7) for day in range(1, 28, 3)]
    world = World(landed=dict.fromkeys(days, "a"))
    first = world.tick("sold_listings_sensor")
    assert len(first) == 20
    while world.queue:
        world.finish()
    assert [request.plan.first for request in (*first, *world.tick("sold_listings_sensor"))] == days[:40]


def test_a_tick_during_a_run_requests_nothing_and_what_landed_meanwhile_is_made_after_it() -> None:
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    assert world.tick("sold_listings_sensor")
    world.landed["2024-01-03"] = "c"
    assert not world.tick("sold_listings_sensor")
    assert not world.tick("retraining_sensor")
    world.finish()
    (request,) = world.tick("sold_listings_sensor")
    assert (request.plan.first, request.plan.last) == ("2024-01-03", "2024-01-03")


def test_a_failed_run_is_requested_again_later_and_later() -> None:
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    gaps, last = [], world.now
    for _ in range(4):
        while not world.tick("sold_listings_sensor"):
            pass
        gaps.append(world.now - last)
        last = world.now
        world.finish(succeeds=False)
    assert gaps[0] == 15
    assert gaps[1:] == [60, 120, 240]


def test_what_lands_after_a_failure_is_requested_at_once() -> None:
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    world.tick("sold_listings_sensor")
    world.finish(succeeds=False)
    assert not world.tick("sold_listings_sensor")
    world.landed["2024-01-02"] = "b, mended"
    assert world.tick("sold_listings_sensor")


def test_a_daemon_that_dies_before_it_keeps_the_cursor_starts_no_run_twice() -> None:
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    assert world.tick("sold_listings_sensor", cursor_is_kept=False)
    waiting, world.queue = world.queue, []
    assert not world.tick("sold_listings_sensor")
    world.queue = waiting
    world.finish()
    world.settle()
    assert [day for asset, day in world.made if asset == "raw_listings"] == ["2024-01-02"]


def test_enough_new_sales_retrain_price_models_before_anything_is_evaluated() -> None:
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    world.sales = 115
    world.settle()
    made = [asset for asset, _ in world.made]
    assert made.index("percentile_pricing_models") < made.index("evaluation_predictions")
    assert "task_backbones" not in made


@pytest.mark.parametrize(("sales", "works"), [(115, []), (160, []), (160, ["price_bounds"])])
def test_new_listings_are_priced_while_retraining_fails(sales: int, works: list[str]) -> None:
    """Also where the bounds could be fitted again, and the backbones, which would follow them, could not."""
    world = settled(d01="a")
    world.landed["2024-01-02"] = "b"
    world.sales = sales
    for _ in range(60):
        world.tick("sold_listings_sensor")
        world.tick("retraining_sensor")
        while world.queue:
            assets = set(world.queue[0].plan.assets)
            world.finish(succeeds=not assets <= FITTED - set(works))
    assert ("price_suggestions", "2024-01-02") in world.made


def test_another_recipe_trains_everything_again() -> None:
    world = settled(d01="a")
    world.recipe = small()
    world.settle()
    assert {asset for asset, _ in world.made} >= FITTED


def test_nothing_is_made_below_what_is_still_to_be_retrained() -> None:
    stale = {"task_backbones": ["category"], "image_embeddings": ["2024-01-01"]}
    assert next_step(stale, FOLLOWING, KEYS) == []
    assert [plan.assets for plan in next_step(stale, FITTED, KEYS)] == [("task_backbones",)]


EVENTS = st.one_of(
    st.tuples(st.just("land"), st.integers(1, 9)),
    st.tuples(st.just("tick"), st.sampled_from(sorted(SENSORS))),
    st.tuples(st.just("tick of a dying daemon"), st.sampled_from(sorted(SENSORS))),
    st.tuples(st.just("finish"), st.booleans()),
    st.tuples(st.just("sell"), st.integers(1, 60)),
)


@settings(max_examples=settings.default.max_examples // 3)
@given(st.lists(EVENTS, max_size=60))
def test_whatever_happens_everything_is_made_in_the_end_and_only_what_is_out_of_date(events: list) -> None:
    world = World()
    for number, (event, value) in enumerate(events):
        if event == "land":
            world.landed[f"2024-01-0{value}"] = f"landing {number}"
        elif event == "sell":
            world.sales += value
        elif event.startswith("tick"):
            for request in world.tick(value, cursor_is_kept=event == "tick"):
                stale = world.stale()
                days = {day for asset in request.plan.assets for day in stale.get(asset, ())}
                assert request.plan.first is None or {request.plan.first, request.plan.last} <= days | {None}
        elif world.queue:
            world.finish(succeeds=value)
    world.settle()
    again = len(world.made)
    world.settle()
    assert len(world.made) == again


def test_a_cursor_of_an_earlier_version_is_read_and_no_run_key_is_used_twice() -> None:
    world = settled(d01="a")
    world.cursors["sold_listings_sensor"] = '{"step": "x", "attempts": 3, "at": 1.0, "number": 7}'
    world.landed["2024-01-02"] = "b"
    (request,) = world.tick("sold_listings_sensor")
    assert request.run_key.split("-")[1] == "8"
    assert Cursor.read(world.cursors["sold_listings_sensor"]).number == 8
