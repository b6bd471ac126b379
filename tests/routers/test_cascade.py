"""The cascade: which events lead to which decisions, and that no engine flaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from defaults import check
from seen import THREE, Table, history, step

from orchestrator.decisions import Conclude, Decision, Handback, Handoff, Keep, StopRun
from orchestrator.errors import UserError
from orchestrator.monitors import Every
from orchestrator.routers import Cascade
from orchestrator.types import Event, History, Step, StepKind

STUCK = Event("stuck", "the same call thrice", value=3.0, threshold=2.0)
MILESTONE = Event("milestone", "a price was found")
DRIFT = Event("drift", "far from the task")
PASS, FAIL, SILENT = {"verdict": 0.8}, {"verdict": 0.2}, {"verdict": None}


def agent(*writers: str, window: int = 0, past: Sequence[Event] = (), engines: tuple[str, ...] = ()) -> History:
    """Return a run of an agent with one turn of each writer: a call, and what the tool answered."""
    steps: list[Step] = []
    for writer in writers:
        for kind, by in ((StepKind.ACTION, writer), (StepKind.OBSERVATION, "tool")):
            steps.append(replace(step("look(pen)", by, index=len(steps)), kind=kind))
    made = history(steps, engines or ("small", "large"))
    made.tools, made.window, made.events = ("look",), window, list(past)
    return made


def behind(event: Event, turn: int) -> Event:
    """Return the event as it was noticed behind a turn, counted from 1."""
    return event._replace(step=2 * turn - 1)


async def decide(policy: Cascade, past: History, *events: Event, scores: Any = PASS) -> tuple[Decision, list[str]]:
    """Return the decision, and whom it asked."""
    last = len(past.steps) - 1
    noticed = [event._replace(step=last) for event in events]
    past.events += noticed
    ask = Table(scores)
    return await policy.on_events(past, noticed, ask), ask.asked


# ---- what becomes of an event where the small engine writes

ACTIONS: list[tuple[dict[str, Any], Event, Any, type[Decision], dict[str, Any]]] = [
    ({}, STUCK, PASS, Handoff, {"engine": "large", "turns": 5, "until": None, "note": ""}),
    ({"turns": 2, "note": "Hm."}, STUCK, PASS, Handoff, {"engine": "large", "turns": 2, "note": "Hm."}),
    ({"on_stuck": "end"}, STUCK, PASS, Handoff, {"engine": "large", "turns": None, "until": None}),
    ({"on_stuck": "milestone"}, STUCK, PASS, Handoff, {"engine": "large", "turns": None}),
    ({"on_stuck": "replan", "plan": "Plan:"}, STUCK, PASS, Handoff, {"engine": "large", "turns": 1, "note": "Plan:"}),
    ({"on_stuck": "note", "note": "Hm."}, STUCK, PASS, Handoff, {"engine": "small", "turns": 1, "note": "Hm."}),
    ({"on_stuck": "conclude"}, STUCK, PASS, Conclude, {}),
    ({"on_stuck": "stop"}, STUCK, PASS, StopRun, {"status": None}),
    ({"on_stuck": "ignore"}, STUCK, PASS, Keep, {"reason": "nothing is done about stuck"}),
    ({"on_stuck": "verify"}, STUCK, FAIL, Handoff, {"engine": "large"}),
    ({}, MILESTONE, PASS, Keep, {"alternatives": ("handoff",)}),
    ({}, MILESTONE, FAIL, Handoff, {"engine": "large", "turns": 5, "alternatives": ("keep",)}),
    ({"on_failed": "end"}, MILESTONE, FAIL, Handoff, {"turns": None}),
    ({"on_failed": "ignore"}, MILESTONE, FAIL, Keep, {}),
    ({"on_failed": "stop"}, MILESTONE, FAIL, StopRun, {}),
    ({"on_milestone": "ignore"}, MILESTONE, FAIL, Keep, {"reason": "nothing is done about milestone"}),
    ({}, DRIFT, FAIL, Handoff, {"engine": "large"}),
    ({}, DRIFT, PASS, Keep, {}),
    ({}, Event("budget", "half is spent"), PASS, Keep, {"reason": "nothing is done about budget"}),
    ({"others": {"budget": "conclude"}}, Event("budget", "half is spent"), PASS, Conclude, {}),
    ({"others": {}}, DRIFT, FAIL, Keep, {"reason": "nothing is done about drift"}),
]


@pytest.mark.parametrize(("options", "event", "scores", "kind", "has"), ACTIONS)
async def test_an_event_leads_to_what_its_option_says(
    options: dict[str, Any], event: Event, scores: Any, kind: type[Decision], has: dict[str, Any]
) -> None:
    decision, _ = await decide(Cascade(**options), agent("small", "small"), event, scores=scores)
    assert type(decision) is kind
    assert {name: getattr(decision, name) for name in has} == has
    assert event.kind in decision.reason


async def test_stuck_pre_empts_a_milestone_that_comes_at_once_and_nobody_is_asked() -> None:
    for events in ((STUCK, MILESTONE), (MILESTONE, STUCK)):
        decision, asked = await decide(Cascade(), agent("small"), *events)
        assert isinstance(decision, Handoff)
        assert (decision.reason, asked) == ("stuck: the same call thrice", [])


async def test_a_milestone_is_verified_where_nothing_is_done_about_stuck() -> None:
    decision, asked = await decide(Cascade(on_stuck="ignore"), agent("small"), STUCK, MILESTONE, scores=FAIL)
    assert isinstance(decision, Handoff)
    assert asked == ["verdict"]


async def test_other_kinds_come_before_a_milestone_and_behind_stuck() -> None:
    policy = Cascade(others={"drift": "stop"})
    assert isinstance((await decide(policy, agent("small"), MILESTONE, DRIFT))[0], StopRun)
    assert isinstance((await decide(policy, agent("small"), DRIFT, STUCK))[0], Handoff)


async def test_the_decision_about_stuck_has_the_reading_it_was_noticed_by() -> None:
    decision, _ = await decide(Cascade(), agent("small"), STUCK)
    (signal,) = decision.signals
    assert (signal.name, signal.raw, decision.threshold, decision.margin) == ("stuck", 3.0, 2.0, 1.0)
    decision, _ = await decide(Cascade(), agent("small"), STUCK._replace(value=None))
    assert (decision.signals, decision.threshold, decision.margin) == ((), None, None)


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [(0.5, Keep, "verdict passes"), (0.49, Handoff, "verdict fails"), (1.0, Keep, "passes"), (0.0, Handoff, "fails")],
)
async def test_a_verification_passes_at_the_threshold_and_says_so(value: float, kind: type, said: str) -> None:
    decision, asked = await decide(Cascade(), agent("small"), MILESTONE, scores={"verdict": value})
    assert (type(decision), asked) == (kind, ["verdict"])
    assert said in decision.reason
    assert (decision.threshold, decision.margin) == (0.5, pytest.approx(value - 0.5))
    assert [signal.value for signal in decision.signals] == [value]


@pytest.mark.parametrize(("policy", "kind"), [("pass", Keep), ("fail", Handoff)])
async def test_a_failing_judge_means_what_the_option_says_and_the_reason_tells(policy: Any, kind: type) -> None:
    decision, _ = await decide(Cascade(on_unreadable=policy), agent("small"), MILESTONE, scores=SILENT)
    assert type(decision) is kind
    assert decision.reason == f"milestone: a price was found; no reading of verdict (nobody knows): {policy}"
    assert decision.signals == ()


async def test_another_scorer_can_verify_and_is_what_the_policy_needs() -> None:
    policy = Cascade(scorer="prm")
    assert policy.needs.scorers == ("prm",)
    assert isinstance((await decide(policy, agent("small"), MILESTONE, scores={"prm": 0.1}))[0], Handoff)
    assert Cascade(on_milestone="ignore", others={}).needs.scorers == ()


# ---- while a hand-over is in force

BY_STUCK = behind(STUCK, 2)
BY_FAILED = behind(MILESTONE, 2)


@pytest.mark.parametrize("event", [STUCK, MILESTONE])
@pytest.mark.parametrize("action", ["turns", "end", "milestone", "replan"])
async def test_an_engine_that_was_handed_the_run_keeps_it_for_its_least_stay(action: Any, event: Event) -> None:
    past = agent("small", "small", "large", past=[BY_STUCK])
    decision, asked = await decide(Cascade(on_stuck=action), past, event, scores=FAIL)
    assert (type(decision), asked) == (Keep, [])
    assert "large has had 1 of at least 2 turns" in decision.reason


@pytest.mark.parametrize(
    ("options", "cause", "scores", "kind"),
    [
        ({"on_stuck": "milestone"}, BY_STUCK, PASS, Handback),
        ({"on_stuck": "milestone"}, BY_STUCK, FAIL, Keep),
        ({"on_stuck": "milestone"}, BY_STUCK, SILENT, Handback),
        ({"on_stuck": "milestone", "on_unreadable": "fail"}, BY_STUCK, SILENT, Keep),
        ({"on_failed": "milestone"}, BY_FAILED, PASS, Handback),
        ({"on_failed": "milestone"}, BY_STUCK, PASS, Keep),
        ({"on_stuck": "milestone"}, BY_FAILED, PASS, Keep),
    ],
)
async def test_only_a_hand_over_until_a_milestone_ends_where_one_passes(
    options: dict[str, Any], cause: Event, scores: Any, kind: type
) -> None:
    past = agent("small", "small", "large", "large", past=[cause])
    decision, _ = await decide(Cascade(**options), past, MILESTONE, scores=scores)
    assert type(decision) is kind


@pytest.mark.parametrize("action", ["turns", "end", "replan"])
async def test_the_large_engine_is_not_asked_about_itself_where_nothing_could_follow(action: Any) -> None:
    past = agent("small", "small", "large", "large", past=[BY_STUCK])
    decision, asked = await decide(Cascade(on_stuck=action), past, MILESTONE, scores=FAIL)
    assert (type(decision), asked) == (Keep, [])
    assert "large writes already" in decision.reason


async def test_the_large_engine_that_is_stuck_itself_goes_on() -> None:
    past = agent("small", "small", "large", "large", past=[BY_STUCK])
    decision, _ = await decide(Cascade(), past, STUCK)
    assert isinstance(decision, Keep)
    assert decision.reason == "stuck: the same call thrice; large goes on"


@pytest.mark.parametrize(("action", "turns"), [("turns", 5), ("end", None), ("milestone", None), ("replan", 1)])
async def test_or_it_goes_on_with_a_note_on_the_terms_it_was_handed_the_run_on(action: Any, turns: int | None) -> None:
    policy = Cascade(on_stuck=action, at_top="note", note="Hm.")
    noted = []
    for of_large in range(1, 7):
        past = agent("small", "small", *["large"] * of_large, past=[BY_STUCK])
        decision, _ = await decide(policy, past, STUCK)
        if isinstance(decision, Handoff):
            assert (decision.engine, decision.turns, decision.note) == ("large", turns, "Hm.")
            noted.append(of_large)
    assert noted == [2, 4, 6]


async def test_each_hand_over_goes_to_the_next_engine_above_the_one_that_wrote() -> None:
    for writers, cause, engine in (
        (["small"] * 2, [], "middle"),
        (["small", "small", "middle", "middle"], [BY_STUCK], "large"),
    ):
        past = agent(*writers, engines=THREE, past=cause)
        decision, _ = await decide(Cascade(), past, STUCK)
        assert isinstance(decision, Handoff)
        assert decision.engine == engine
    past = agent("small", "middle", "middle", "large", "large", engines=THREE, past=[behind(STUCK, 1)])
    assert isinstance((await decide(Cascade(), past, STUCK))[0], Keep)


async def test_a_milestone_of_a_middle_engine_is_verified_and_failing_it_goes_on_up() -> None:
    past = agent("small", "middle", "middle", engines=THREE, past=[behind(STUCK, 1)])
    decision, asked = await decide(Cascade(), past, MILESTONE, scores=FAIL)
    assert isinstance(decision, Handoff)
    assert (decision.engine, asked) == ("large", ["verdict"])


async def test_what_is_noticed_behind_a_call_and_again_behind_its_answer_is_decided_on_once() -> None:
    past = agent("small", "small")
    answer = past.steps.pop()
    assert isinstance((await decide(Cascade(), past, STUCK))[0], Handoff)
    past.steps.append(answer)
    decision, asked = await decide(Cascade(), past, STUCK, MILESTONE)
    assert (type(decision), asked) == (Keep, [])
    assert decision.reason == "stuck: the same call thrice; decided at an earlier step of the turn"


async def test_an_event_of_the_turn_before_does_not_stand_in_the_way() -> None:
    for past in (agent("small", "small", past=[behind(MILESTONE, 1)]), history([step(), step(index=1)])):
        past.events = past.events or [STUCK._replace(step=0)]
        assert isinstance((await decide(Cascade(), past, STUCK))[0], Handoff)


async def test_a_hand_over_that_was_decided_behind_a_call_ends_with_its_milestone_too() -> None:
    policy = Cascade(on_stuck="milestone")
    past = agent("small", "small", "large", "large", past=[STUCK._replace(step=2), BY_FAILED])
    assert isinstance((await decide(policy, past, MILESTONE))[0], Handback)
    past = agent("small", "small", "large", "large", past=[MILESTONE._replace(step=2), BY_STUCK])
    assert isinstance((await decide(policy, past, MILESTONE))[0], Keep)


async def test_an_engine_that_stepped_in_without_an_event_is_not_sent_back() -> None:
    past = agent("large", "large")
    decision, _ = await decide(Cascade(on_stuck="milestone", on_failed="milestone"), past, MILESTONE)
    assert isinstance(decision, Keep)


# ---- behind a hand-over


@pytest.mark.parametrize(("turns_back", "kind"), [(1, Keep), (2, Keep), (3, Keep), (4, Handoff)])
@pytest.mark.parametrize("event", [STUCK, MILESTONE])
async def test_nothing_is_handed_over_again_before_the_dwell_is_over(event: Event, turns_back: int, kind: type) -> None:
    past = agent("small", "large", "large", *["small"] * turns_back, window=6, past=[behind(STUCK, 1)])
    decision, asked = await decide(Cascade(dwell=3), past, event, scores=FAIL)
    assert type(decision) is kind
    if kind is Keep:
        assert f"{turns_back} turns since the last hand-over" in decision.reason
        assert asked == []


async def test_turns_are_counted_from_the_window_and_not_from_the_start_of_the_run() -> None:
    for before in (1, 40):
        past = agent(*["small"] * before, "large", "small", "small", window=2 * before + 2)
        assert isinstance((await decide(Cascade(dwell=2), past, STUCK))[0], Keep)
        past = agent(*["small"] * before, "large", "small", "small", "small", window=2 * before + 2)
        assert isinstance((await decide(Cascade(dwell=2), past, STUCK))[0], Handoff)


async def test_without_dwell_the_first_turn_may_lead_to_another_hand_over() -> None:
    past = agent("small", "large", "small", window=4)
    assert isinstance((await decide(Cascade(dwell=0), past, STUCK))[0], Handoff)


async def test_a_run_without_an_earlier_hand_over_has_no_dwell() -> None:
    assert isinstance((await decide(Cascade(dwell=50), agent("small"), STUCK))[0], Handoff)


@pytest.mark.parametrize("action", ["stop", "conclude"])
async def test_what_ends_the_thought_or_the_run_waits_for_no_dwell(action: Any) -> None:
    past = agent("small", "large", "small", window=4)
    decision, _ = await decide(Cascade(others={"budget": action}), past, Event("budget", "spent"))
    assert isinstance(decision, StopRun | Conclude)


# ---- whole runs


async def follow(policy: Cascade, num_turns: int, scores: Any, *, stuck: Any = None, milestones: int = 0) -> list[str]:
    """Return who wrote each turn, hand-overs carried out as the runtime does; `stuck` is a monitor."""
    past, writers = agent(), list[str]()
    engine, in_force, left = "small", False, 0
    for turn in range(1, num_turns + 1):
        writers.append(engine)
        past.steps += [replace(each, index=len(past.steps) + each.index) for each in agent(engine).steps]
        if in_force and (left := left - 1) == 0:
            engine, in_force, past.window = "small", False, len(past.steps)
        events = [event] if stuck and (event := stuck.watch(past)) else []
        events += [MILESTONE] if milestones and turn % milestones == 0 else []
        decision = (await decide(policy, past, *events, scores=scores))[0] if events else None
        if isinstance(decision, Handoff):
            assert not in_force, "a hand-over was in force"
            engine, in_force, left = decision.engine, True, decision.turns or -1
        elif isinstance(decision, Handback):
            assert in_force
            engine, in_force, past.window = "small", False, len(past.steps)
    return writers


def changes(writers: Sequence[str]) -> int:
    return sum(one != other for one, other in pairwise(writers))


async def test_a_monitor_that_always_raises_stuck_does_not_make_engines_flap() -> None:
    policy = Cascade(turns=5, dwell=3)
    writers = await follow(policy, 50, FAIL, stuck=Every(moves=1), milestones=1)
    assert writers[:14] == ["small"] + ["large"] * 5 + ["small"] * 4 + ["large"] * 4
    assert changes(writers) <= 2 * 50 // (5 + 4) + 1


async def test_hand_overs_until_a_milestone_neither_flap_nor_overlap() -> None:
    policy = Cascade(on_stuck="milestone", dwell=3, stay=2)
    writers = await follow(policy, 50, PASS, stuck=Every(moves=1), milestones=1)
    assert writers[:9] == ["small", "large", "large", "large", "large", "large", "large", "large", "large"]
    writers = await follow(policy, 50, PASS, stuck=Every(moves=4), milestones=3)
    runs = "".join(writer[0] for writer in writers).replace("sl", "s l").replace("ls", "l s").split()
    assert len(runs) > 4
    assert all(len(run) >= (2 if run[0] == "l" else 4) for run in runs[:-1])


async def test_to_the_end_is_to_the_end() -> None:
    writers = await follow(Cascade(on_stuck="end"), 50, PASS, stuck=Every(moves=2), milestones=3)
    assert writers == ["small"] * 2 + ["large"] * 48


async def test_without_tools_every_step_is_a_turn() -> None:
    steps = [step(index=index, writer=writer) for index, writer in enumerate(["small", "large", "small", "small"])]
    past = history(steps)
    past.window = 2
    assert isinstance((await decide(Cascade(dwell=2), past, STUCK))[0], Keep)
    assert isinstance((await decide(Cascade(dwell=1), past, STUCK))[0], Handoff)


@pytest.mark.parametrize(
    ("tools", "whole", "is_whole"),
    [(("look",), None, True), ((), None, False), (("look",), False, False), ((), True, True)],
)
def test_the_small_engine_writes_whole_turns_where_there_are_tools(
    tools: tuple[str, ...], whole: bool | None, is_whole: bool
) -> None:
    past = history()
    past.tools = tools
    plan = Cascade(whole=whole).before_step(past)
    assert (plan.engine, plan.whole) == ("small", is_whole)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_stuck": "panic"}, r"on_stuck = 'panic'; known: turns, end"),
        ({"on_failed": "verify"}, "without end"),
        ({"others": {"drift": "panic"}}, r"others.drift = 'panic'"),
        ({"others": {"stuck": "end"}}, "use the option on_stuck"),
        ({"on_stuck": "milestone", "on_milestone": "ignore"}, "needs on_milestone = 'verify'"),
        ({"on_stuck": "note"}, "note is empty"),
        ({"at_top": "note"}, "note is empty"),
        ({"on_failed": "replan", "plan": " "}, "plan is empty"),
        ({"turns": 0}, "turns = 0"),
        ({"turns": True}, "turns = True"),
        ({"dwell": -1}, "dwell = -1"),
        ({"stay": 0}, "stay = 0"),
        ({"threshold": 1.1}, "threshold = 1.1"),
        ({"threshold": float("nan")}, "threshold = nan"),
        ({"on_unreadable": "stop"}, "known: pass, fail"),
        ({"at_top": "stop"}, "known: ignore, note, restart"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_name(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        Cascade(**options)


# ---- what is made again


@pytest.mark.parametrize(
    ("writers", "said", "restarts"),
    [
        (["small", "large"], "look(pen)", True),
        (["small", "small", "large"], "look(pen)", True),
        (["small", "large"], "look(cup)", False),
        (["small", "large", "large"], "look(pen)", False),
        (["large", "small", "large"], "look(pen)", False),
        (["large"], "look(pen)", False),
    ],
    ids=["again", "later", "another call", "its own again", "it began", "one turn"],
)
async def test_a_large_engine_that_only_repeats_the_small_one_begins_anew_once(
    writers: list[str], said: str, restarts: bool
) -> None:
    past = agent(*writers)
    past.steps[-2] = replace(past.steps[-2], text=said)
    policy = Cascade(on_stuck="retake", turns=1, dwell=0, stay=1, at_top="restart")
    decision, _ = await decide(policy, past, STUCK)
    if not restarts:
        assert isinstance(decision, Keep)
        return
    assert isinstance(decision, Handoff)
    assert (decision.engine, decision.to_step, decision.turns) == ("large", 0, 1)


def failing(*answers: str, window: int = 0) -> History:
    """Return a run of the small engine in which the tool answered this."""
    made = agent(*["small"] * len(answers), window=window)
    made.steps = [
        replace(each, text=answers[each.index // 2]) if each.kind is StepKind.OBSERVATION else each
        for each in made.steps
    ]
    return made


@pytest.mark.parametrize(
    ("answers", "window", "over_errors", "to_step"),
    [
        (["3", "4"], 0, False, 2),
        (["3"], 0, False, 0),
        (["3", "error: no x", "4"], 0, False, 4),
        (["3", "error: no x", "4"], 0, True, 2),
        (["3", "error: no x", "error: no y", "error: no z"], 0, True, 2),
        (["error: no x", "4"], 0, True, 0),
        (["error: no x", "4"], 2, True, 2),
        (["3", "4"], 0, True, 2),
    ],
)
async def test_a_turn_is_made_again_with_the_errors_that_led_there_if_so_asked(
    answers: list[str], window: int, over_errors: bool, to_step: int
) -> None:
    policy = Cascade(on_stuck="retake", turns=2, dwell=0, over_errors=over_errors)
    decision, asked = await decide(policy, failing(*answers, window=window), STUCK)
    assert isinstance(decision, Handoff)
    assert (decision.engine, decision.turns, decision.to_step, asked) == ("large", 2, to_step, [])


async def test_what_the_largest_engine_wrote_is_not_made_again() -> None:
    decision, _ = await decide(Cascade(on_stuck="retake", stay=1), agent("small", "large"), STUCK)
    assert isinstance(decision, Keep)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"turns": 5, "on_stuck": "turns"}, "`cascade` hands over for `turns` (5) turns"),
        ({"on_milestone": "verify", "on_failed": "turns", "scorer": "verdict"}, "only a failed one hands over"),
        ({"dwell": 3}, "nothing is handed over again within `dwell` moves"),
        ({"stay": 2, "threshold": 0.5, "on_unreadable": "pass"}, "In [0, 1]; a score of at least this passes."),
        ({"at_top": "ignore", "over_errors": False, "note": "", "whole": None}, "empty for nothing"),
    ],
)
def test_a_default_is_what_people_are_told(options: dict[str, Any], said: str) -> None:
    check(Cascade, options, said)
