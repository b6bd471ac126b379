"""The bandit alone: what it learns, what it forgets, and whom it leaves alone."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from time import process_time
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decisions import Plan
from orchestrator.errors import UserError
from orchestrator.routers import LinUCB
from orchestrator.routers.ridge import Ridge
from orchestrator.routers.wording import PLACE, WORDING, of_place, of_task
from orchestrator.types import History, Message, Outcome, Status, Step, Stop, Taken, Task

ENGINES = ("small", "large")
State = Mapping[str, Any]


def history(
    text: str = "q", *, state: State | None = None, seed: int = 7, writers: tuple[str, ...] = (), engines: Any = ENGINES
) -> History:
    steps = [
        Step(index=index, attempt=0, writer=writer, text="x\n\n", num_tokens=3, stop=Stop.DELIMITER)
        for index, writer in enumerate(writers)
    ]
    return History(task=Task.of(text), engines=engines, seed=seed, steps=steps, learned=state or {})


def outcome(
    plan: Plan, reward: float | None, *, writers: tuple[str, ...] | None = None, engines: Any = ENGINES, **more: Any
) -> Outcome:
    taken = Taken(0, 0, "before_step", "plan", plan.engine, plan.features)
    filled: dict[str, Any] = {
        "run_id": "r",
        "status": Status.COMPLETED,
        "engines": engines,
        "decisions": (taken,),
        "writers": (plan.engine,) if writers is None else writers,
        "failed": (),
        "seconds": 1.0,
        "output_tokens": {},
        "cost": {},
        "reward": reward,
    }
    return Outcome(**{**filled, **more})


def learn(policy: LinUCB, state: State, told: Outcome) -> State:
    """Return the next state as the journal gives it back."""
    read: State = json.loads(json.dumps(policy.after_run(told, state), allow_nan=False))
    return read


def asked(rng: random.Random) -> str:
    """Return a text whose features differ: few or many numbers, short or long, with brackets or without."""
    numbers = " + ".join(str(rng.randrange(10)) for _ in range(rng.choice((2, 5, 9, 20))))
    return f"Compute {f'({numbers})' if rng.random() < 0.5 else numbers}{' please' * rng.choice((0, 20, 80))}."


def played(policy: LinUCB, rounds: int, seed: int) -> tuple[list[float], list[float]]:
    """Return the regret of each round on a linear bandit of three arms: the policy's, and that of a uniform draw."""
    rng = random.Random(seed)
    engines = ("a", "b", "c")
    theta = {name: np.array([rng.uniform(-0.25, 0.25) for _ in WORDING]) for name in engines}
    state: State = {}
    regrets: list[float] = []
    uniform: list[float] = []
    for place in range(rounds):
        text = asked(rng)
        x = np.array(of_task(Task.of(text)))
        worth = {name: float(np.clip(0.5 + theta[name] @ x, 0, 1)) for name in engines}
        plan = policy.before_step(history(text, state=state, seed=place, engines=engines))
        regrets.append(max(worth.values()) - worth[plan.engine])
        uniform.append(max(worth.values()) - sum(worth.values()) / len(worth))
        reward = float(np.clip(worth[plan.engine] + rng.gauss(0, 0.1), 0, 1))
        state = learn(policy, state, outcome(plan, reward, engines=engines))
    return regrets, uniform


@pytest.mark.parametrize("seed", [0, 1])
def test_regret_on_a_linear_bandit_grows_ever_slower_and_stays_far_below_that_of_a_uniform_draw(seed: int) -> None:
    regrets, uniform = played(LinUCB(cost_weight=0), 1200, seed)
    quarters = [sum(regrets[first : first + 300]) for first in range(0, 1200, 300)]
    assert quarters[-1] < 0.4 * quarters[0]
    assert sum(regrets) < 0.4 * sum(uniform)
    assert sum(regrets[600:]) < 0.2 * sum(uniform[600:])


def test_rewards_that_come_late_and_in_another_order_teach_what_prompt_ones_do() -> None:
    policy, rng = LinUCB(), random.Random(3)
    plans = [policy.before_step(history(asked(rng), seed=place)) for place in range(30)]
    rewards = [rng.random() for _ in plans]
    prompt: State = {}
    for plan, reward in zip(plans, rewards, strict=True):
        prompt = learn(policy, prompt, outcome(plan, reward))
    late: State = {}
    for plan in plans:
        late = learn(policy, late, outcome(plan, None))
    before = late
    for place in rng.sample(range(30), 30):
        late = learn(policy, late, outcome(plans[place], rewards[place], is_late=True))
    assert {name: arm["count"] for name, arm in before["arms"].items()} == {"small": 0, "large": 0}
    assert (late["runs"], late["rewards"]) == (prompt["runs"], prompt["rewards"]) == (30, 30)
    for name in ENGINES:
        assert late["arms"][name]["count"] == prompt["arms"][name]["count"] > 5
        np.testing.assert_allclose(late["arms"][name]["a"], prompt["arms"][name]["a"])
        np.testing.assert_allclose(late["arms"][name]["b"], prompt["arms"][name]["b"])


def test_a_reward_is_credited_to_the_engine_and_the_features_of_its_own_decision() -> None:
    policy = LinUCB(cost_weight=0)
    many = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17"
    state: State = {}
    for text, engine, reward in [("one 1", "small", 1.0), (many, "small", 0.0), ("one 1", "large", 0.0)] * 8:
        state = learn(policy, state, outcome(Plan(engine=engine, features=of_task(Task.of(text))), reward))
    for _ in range(8):
        state = learn(policy, state, outcome(Plan(engine="large", features=of_task(Task.of(many))), 1.0))
    assert policy.before_step(history("one 2", state=state)).engine == "small"
    assert policy.before_step(history(many, state=state)).engine == "large"


def test_the_large_engine_has_to_earn_its_cost() -> None:
    def chosen(weight: float) -> str:
        policy, state = LinUCB(cost_weight=weight), {}
        for _ in range(60):
            for engine, reward in (("small", 0.6), ("large", 0.8)):
                state = learn(policy, state, outcome(Plan(engine=engine, features=of_task(Task.of("q"))), reward))
        return policy.before_step(history(state=state)).engine

    assert [chosen(0.1), chosen(0.3)] == ["large", "small"]


def test_with_a_scale_the_cost_is_what_the_engines_charged() -> None:
    policy, plan = LinUCB(cost_weight=0.5, cost_scale=4.0), Plan(engine="large", features=of_task(Task.of("q")))
    cheap = learn(policy, {}, outcome(plan, 1.0, cost={"large": 1.0}))
    dear = learn(policy, {}, outcome(plan, 1.0, cost={"large": 9.0}))
    assert cheap["arms"]["large"]["b"][0] - dear["arms"]["large"]["b"][0] == pytest.approx(0.5 * (1 - 0.25))


def test_the_first_choices_are_drawn_and_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[str]:
        policy = LinUCB(seed=seed)
        return [policy.before_step(history(seed=place)).engine for place in range(200)]

    assert 70 < drawn(0).count("large") < 130
    assert drawn(0) == drawn(0) != drawn(1)


def test_a_whole_life_is_the_same_under_the_same_seed() -> None:
    assert played(LinUCB(), 60, 4) == played(LinUCB(), 60, 4)


def test_an_engine_that_failed_is_dropped_for_its_cooldown_and_then_tried_again() -> None:
    policy, state = LinUCB(cooldown=3), {}
    for engine, reward in (("large", 1.0), ("small", 0.0)) * 5:
        state = learn(policy, state, outcome(Plan(engine=engine, features=of_task(Task.of("q"))), reward))
    assert policy.before_step(history(state=state)).engine == "large"
    broken = outcome(policy.before_step(history(state=state)), 1.0, writers=("small",), failed=("large",))
    state = learn(policy, state, broken)
    chosen = []
    while not chosen or chosen[-1][0] == "small":
        plan = policy.before_step(history(state=state))
        chosen.append((plan.engine, plan.reason))
        state = learn(policy, state, outcome(plan, 0.5))
    assert 4 <= len(chosen) < 40
    assert all(reason.endswith(", large rests") for _, reason in chosen[:-1])
    assert chosen[-1][1] == "it failed and has rested: tried again"
    assert state["failures"] == {}  # it wrote: it is well again


@pytest.mark.parametrize("per", ["task", "step"])
def test_of_runs_side_by_side_a_share_tries_an_engine_that_has_rested(per: Any) -> None:
    policy = LinUCB(per=per, cooldown=0)
    features = policy.before_step(history()).features
    broken = outcome(Plan(engine="large", features=features), None, writers=("small",), failed=("large",))
    state = learn(policy, {}, broken)
    chosen = [policy.before_step(history(f"task {number}", state=state)) for number in range(400)]
    tries = sum(plan.engine == "large" for plan in chosen)
    assert 60 < tries < 140
    again = [policy.before_step(history(f"task {number}", state=state)) for number in range(400)]
    assert chosen == again


def test_an_engine_that_fails_again_rests_twice_as_long_and_failures_side_by_side_count_once() -> None:
    policy = LinUCB(cooldown=4)
    plan = Plan(engine="large", features=of_task(Task.of("q")))
    broken = outcome(plan, None, writers=("small",), failed=("large",))
    state: State = learn(policy, {}, broken)
    assert state["failures"] == {"large": [1, 5]}
    state = learn(policy, learn(policy, state, broken), broken)
    assert state["failures"] == {"large": [1, 5]}
    for _ in range(3):
        state = learn(policy, state, broken)
    assert state["failures"] == {"large": [2, 6 + 8]}


def test_a_decision_that_another_engine_had_to_carry_out_teaches_nothing() -> None:
    plan = Plan(engine="large", features=of_task(Task.of("q")))
    state = learn(LinUCB(), {}, outcome(plan, 1.0, writers=("large", "small"), failed=("large",)))
    assert {name: arm["count"] for name, arm in state["arms"].items()} == {"small": 0, "large": 0}


def test_when_every_engine_rests_the_one_that_is_due_first_writes() -> None:
    policy, state = LinUCB(cooldown=5), {}
    plan = Plan(engine="large", features=of_task(Task.of("q")))
    state = learn(policy, state, outcome(plan, None, writers=(), failed=("small",)))
    state = learn(policy, state, outcome(plan, None, writers=(), failed=("large",)))
    assert policy.before_step(history(state=state)).engine == "small"


def test_with_a_discount_a_change_of_the_world_is_noticed() -> None:
    def chosen(discount: float) -> str:
        policy, state = LinUCB(discount=discount, cost_weight=0, alpha=0.1), {}
        features = of_task(Task.of("q"))
        for large in (1.0, 0.0):
            for _ in range(100 if large else 40):
                for engine, reward in (("small", 0.5), ("large", large)):
                    state = learn(policy, state, outcome(Plan(engine=engine, features=features), reward))
        return policy.before_step(history(state=state)).engine

    assert [chosen(1.0), chosen(0.95)] == ["large", "small"]


def test_per_task_whoever_wrote_the_last_step_goes_on_and_per_step_every_step_is_a_choice() -> None:
    assert LinUCB().before_step(history(writers=("large",))) == Plan(engine="large")
    policy = LinUCB(per="step")
    plans = [policy.before_step(history(writers=("small",) * num)) for num in (0, 2, 5)]
    assert [len(plan.features) for plan in plans] == [len(WORDING) + len(PLACE)] * 3
    assert len({plan.features for plan in plans}) == 3
    decisions = tuple(
        Taken(step, 0, "before_step", "plan", engine, plans[0].features) for step, engine in enumerate(ENGINES)
    )
    told = outcome(plans[0], 1.0, decisions=decisions, writers=("small", "small"))
    state = policy.after_run(told, {})
    assert {name: arm["count"] for name, arm in state["arms"].items()} == {"small": 1, "large": 0}


def test_of_a_step_that_was_planned_again_only_the_last_plan_counts() -> None:
    first, last = (Plan(engine=engine, features=of_task(Task.of("q"))) for engine in ENGINES)
    decisions = tuple(
        Taken(0, attempt, "before_step", "plan", plan.engine, plan.features)
        for attempt, plan in enumerate((first, last))
    )
    state = LinUCB().after_run(outcome(last, 1.0, decisions=decisions), {})
    assert {name: arm["count"] for name, arm in state["arms"].items()} == {"small": 0, "large": 1}


def test_learning_leaves_the_state_it_was_given_as_it_is() -> None:
    plan = Plan(engine="large", features=of_task(Task.of("q")))
    state = learn(LinUCB(), {}, outcome(plan, 1.0, writers=("small",), failed=("large",)))
    before = json.dumps(state)
    LinUCB(discount=0.5).after_run(outcome(plan, 1.0, writers=("small",), failed=("large",)), state)
    LinUCB(discount=0.5).after_run(outcome(plan, 1.0), state)
    assert json.dumps(state) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2, not 1"),
        ({"arms": {"small": {"a": [1.0], "b": [0.0], "count": 1}}}, "damaged"),
        ({"arms": {"small": {"a": [float("nan")] * 55, "b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": {"a": [1e300] * 55, "b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": {"b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": {"a": [0.0] * 55, "b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": {"a": [1.0] * 55, "b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": {"a": [[1.0]] * 55, "b": [0.0] * 10, "count": 1}}}, "damaged"),
        ({"arms": {"small": 1}}, "damaged"),
        ({"arms": [1]}, "damaged"),
        ({"failures": {"small": [1]}}, "damaged"),
        ({"failures": {"small": [1, "soon"]}}, "damaged"),
        ({"failures": [1]}, "damaged"),
        ({"runs": "many"}, "damaged"),
    ],
)
def test_a_state_of_another_format_or_damaged_is_refused(change: dict[str, Any], said: str) -> None:
    state = {"format": 1, "runs": 1, "rewards": 1, "arms": {}, "failures": {}, **change}
    with pytest.raises(UserError, match=said) as caught:
        LinUCB().before_step(history(state=state))
    assert "experience" in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"per": "token"},
        {"alpha": -0.1},
        {"alpha": float("nan")},
        {"ridge": 0.0},
        {"ridge": 1e-320},
        {"ridge": 1e300},
        {"discount": 0.0},
        {"discount": 1.1},
        {"cost_weight": -1.0},
        {"cost_scale": 0.0},
        {"cooldown": -1},
    ],
)
def test_options_out_of_range_are_refused_by_name(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"linucb: {next(iter(options))}"):
        LinUCB(**options)


features = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda each: [1.0, *each])
learned = st.lists(st.tuples(features, st.floats(-1, 1), st.floats(0.5, 1)), max_size=40)


@given(learned=learned, x=features)
def test_whatever_is_learned_the_state_stays_symmetric_definite_and_finite_and_survives_json(
    learned: list[tuple[list[float], float, float]], x: list[float]
) -> None:
    arm = Ridge(4, 1.0)
    spread = arm.estimate(x)[1]
    for seen, reward, discount in learned:
        arm.fade(discount)
        arm.add(seen, reward)
        assert arm.estimate(seen)[1] < 1.0  # below what the ridge alone leaves open
        again = Ridge.from_json(json.loads(json.dumps(arm.to_json())), 4, 1.0)
        assert again.estimate(x) == arm.estimate(x)
        assert np.array_equal(again._a, arm._a) and np.array_equal(arm._a, arm._a.T)
        assert np.linalg.eigvalsh(arm._a)[0] > 1 - 1e-9
    mean, narrower = arm.estimate(x)
    assert np.isfinite(mean)
    assert 0 < narrower <= spread + 1e-9


@given(seen=st.lists(features, min_size=1, max_size=30))
def test_an_estimate_is_that_of_ridge_regression_computed_at_once(seen: list[list[float]]) -> None:
    arm, x = Ridge(4, 0.5), np.array(seen)
    rewards = [sum(each) / 4 for each in seen]
    for each, reward in zip(seen, rewards, strict=True):
        arm.add(each, reward)
    a = x.T @ x + 0.5 * np.eye(4)
    theta = np.linalg.inv(a) @ (x.T @ np.array(rewards) + 0.5 * np.array([1.0, 0, 0, 0]))
    mean, spread = arm.estimate(seen[0])
    assert mean == pytest.approx(theta @ x[0], abs=1e-9)
    assert spread == pytest.approx(np.sqrt(x[0] @ np.linalg.inv(a) @ x[0]), abs=1e-9)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_never_learned(bad: float) -> None:
    arm = Ridge(2, 1.0)
    before = arm.to_json()
    for seen, reward in (([1.0, bad], 1.0), ([1.0, 0.0], bad), ([1.0], 1.0)):
        with pytest.raises(UserError, match="cannot be learned from"):
            arm.add(seen, reward)
    assert arm.to_json() == before


@given(text=st.text(min_size=1).filter(str.strip), turns=st.integers(0, 2))
def test_features_are_bounded_whatever_the_text(text: str, turns: int) -> None:
    messages = [Message("user", "a"), Message("assistant", "b")] * turns + [Message("user", text)]
    for values, names in (
        (of_task(Task(messages=tuple(messages))), WORDING),
        (of_place(history(text, writers=("small", "large", "large"))), PLACE),
        (of_place(history(text)), PLACE),
    ):
        assert len(values) == len(names)
        assert all(0 <= value <= 1 for value in values)


def test_features_say_what_their_names_say() -> None:
    found = dict(zip(WORDING, of_task(Task.of("Compute (3 + 4) * 12 - 5.")), strict=True))
    assert (found["numbers>=4"], found["numbers>=8"], found["brackets"], found["chars>=100"]) == (1.0, 0.0, 1.0, 0.0)
    place = dict(zip(PLACE, of_place(history(writers=("small", "large", "large", "small"))), strict=True))
    assert (place["steps>=4"], place["steps>=8"], place["last step large"], place["large share"]) == (
        1.0,
        0.0,
        0.0,
        0.5,
    )


@pytest.mark.parametrize("per", ["task", "step"])
def test_a_decision_takes_less_than_a_third_of_a_millisecond(per: Any) -> None:
    policy, state = LinUCB(per=per), {}
    for _ in range(20):
        plan = policy.before_step(history(state=state))
        state = learn(policy, state, outcome(plan, 1.0))
    asked_of = history("Compute (3 + 4) * 12 - 5. " * 400, state=state)
    passes = []
    for _ in range(5):
        started = process_time()
        for _ in range(200):
            policy.before_step(asked_of)
        passes.append((process_time() - started) / 200)
    assert min(passes) < 0.0003


def test_the_state_stays_small() -> None:
    policy, state = LinUCB(per="step"), {}
    for place in range(200):
        state = learn(policy, state, outcome(policy.before_step(history(state=state, seed=place)), 1.0))
    assert len(json.dumps(state)) < 8192
