"""The trace of an agent: what came back, escalations and returns, what was taken back, forks and exports."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from json import loads
from typing import Any

import pytest

from orchestrator.decisions import Decision, handoff, keep, rewrite, rollback
from orchestrator.doors import Ask, Needs
from orchestrator.engines.scripted import Scripted
from orchestrator.memory.base import StoredRun
from orchestrator.runtime.fork import ancestors
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.runtime.timeline import timeline
from orchestrator.tools import tool
from orchestrator.traces.record import exported
from orchestrator.types import Event, History, Step, StepKind, Task


@dataclass(frozen=True, kw_only=True)
class Cascades:
    """Hands over for a turn at an event; goes back, or rewrites, where a draft says so."""

    needs = Needs(engines=2)

    async def after_draft(self, history: History, draft: Step, ask: Ask) -> Decision:
        if draft.text.startswith("Back"):
            return rollback(2, reason="wrong turn")
        return rewrite(history.large, reason="bad") if draft.text.startswith("Bad") else keep(reason="fine")

    async def on_events(self, history: History, events: Any, ask: Ask) -> Decision:
        return handoff(history.large, turns=1, reason="the large engine for a turn", note="Otherwise: ")


class TheSameTwice:
    """Notices that a tool has answered the same twice in the window."""

    def watch(self, history: History) -> Event | None:
        seen = [step.text for step in history.steps[history.window :] if step.kind is StepKind.OBSERVATION]
        is_new = history.steps[-1].kind is StepKind.OBSERVATION and seen.count(seen[-1]) == 2
        return Event("stuck", "the same answer twice", value=2.0, threshold=2.0) if is_new else None


@tool(idempotent=True)
def look(at: str) -> str:
    """Look at something."""
    return f"a {at}\x1b[2J\nand more"


SMALL = [
    "<tool>look(pen)</tool>",
    "Bad idea\n\n",
    "<tool>look(pen)</tool>",
    "Back!\n\n",
    "<tool>look(cap)</tool>",
    "<tool>look(hat)</tool>",
    "\\boxed{2}",
]
LARGE = ["Better:\n\n", "<tool>look(cup)</tool>"]


def agent(small: Any = SMALL, large: Any = LARGE, tools: Any = (look,), **options: Any) -> Pipeline:
    engines = {"small": Scripted(small), "large": Scripted(large)}
    given = {"monitors": [TheSameTwice()], "mode": "agentic", "db": ":memory:", **options}
    return Pipeline(engines, Cascades(), tools=tools, **given)


@pytest.fixture(scope="module")
def made() -> Iterator[Pipeline]:
    with agent() as made:
        made.run("What?", run_id="one")
        yield made


def timeless(run: StoredRun) -> StoredRun:
    """Return a stored run whose times are 0."""
    calls = [call._replace(result=call.result and call.result._replace(seconds=0.0)) for call in run.calls]
    outcome = run.outcome and run.outcome._replace(
        seconds=0.0, ledger=re.sub(r'"seconds": [^,}]*', '"seconds": 0', run.outcome.ledger)
    )
    return run._replace(calls=calls, steps=[row._replace(seconds=0.0) for row in run.steps], outcome=outcome)


def drawn(run: StoredRun, before: Any = ()) -> str:
    """Return the timeline with its times replaced, without white space at the ends of lines."""
    text = re.sub(r"(?m)^(started +).*$", r"\1now", timeline(timeless(run), before, width=90).plain)
    text = re.sub(r"(?m)^(router +)\S*:", r"\1", text)
    return "\n".join(line.rstrip() for line in text.splitlines())


WHOLE = r"""
run one  completed  7 steps  0.0 s
started  now
asked    What?
engines  small: scripted on scripted
         large: scripted on scripted
router   Cascades 0.1.0
ended    the engine ended its text
answer   2

   # writer   verdict      score  need margin tokens     ms  reason
  -- mode agentic: as the pipeline says
   0 small    kept             -     -      -     22      0  fine
       <tool>look(pen)</tool>
   1 look     observed         -     -      -      0      0
       a pen\x1b[2J and more
   2 small    x rejected       -     -      -     10      0  bad
       | Bad idea
   2 large    x rolled back    -     -      -      9      0  replaces draft
       | Better:
   3 small    x rolled back    -     -      -     22      0  fine
       | <tool>look(pen)</tool>
   4 look     x rolled back    -     -      -      0      0
       | a pen\x1b[2J and more
  -- stuck: the same answer twice
  -- to large for 1 turn: the large engine for a turn
   5 large    x rolled back    -     -      -     22      0
       | Otherwise: <tool>look(cup)</tool>
   6 look     x rolled back    -     -      -      0      0
       | a cup\x1b[2J and more
  -- handed back: large has had 1 turn
   7 small    x rejected       -     -      -      7      0  wrong turn
       | Back!
   2 small    kept             -     -      -     22      0  fine
       <tool>look(cap)</tool>
   3 look     observed         -     -      -      0      0
       a cap\x1b[2J and more
   4 small    kept             -     -      -     22      0  fine
       <tool>look(hat)</tool>
   5 look     observed         -     -      -      0      0
       a hat\x1b[2J and more
   6 small    kept             -     -      -      9      0  fine
       \boxed{2}
     event at step 5: lead: large starts with 'Otherwise: '
     event at step 7: thought: 0 tokens in mode agentic

engine   purpose  fate         calls   prompt   cached  output       s
small    draft    discarded        3      831        -      39    0.00
small    draft    used             4     1028        -      75    0.00
large    draft    discarded        1      308        -      22    0.00
large    rewrite  discarded        1      226        -       9    0.00
look     tool     used             5        0        -       0    0.00
small    all                       7     1859        -     114    0.00
large    all                       2      534        -      31    0.00
all                               14     2393        -     145    0.00
large produced 21% of all output tokens
- under cached: the server does not report it
""".strip("\n")

CHILD = r"""
run two  completed  9 steps  0.0 s
started  now
asked    What?
engines  small: scripted on scripted
         large: scripted on scripted
router   Cascades 0.1.0
fork of  one
ended    the engine ended its text
answer   3

   # writer   verdict      score  need margin tokens     ms  reason
  -- mode agentic: as the pipeline says
   0 small    inherited        -     -      -     22      0  from run one
       <tool>look(pen)</tool>
   1 look     inherited        -     -      -      0      0  from run one
       a pen\x1b[2J and more
   2 small    inherited        -     -      -     22      0  from run one
       <tool>look(pen)</tool>
   3 look     inherited        -     -      -      0      0  from run one
       a pen\x1b[2J and more
  -- stuck: the same answer twice
   4 large    inherited        -     -      -     22      0  from run one
       Otherwise: <tool>look(cap)</tool>
   5 look     inherited        -     -      -      0      0  from run one
       a cap\x1b[2J and more
  -- handed back: large has had 1 turn
   6 small    inherited        -     -      -     22      0  from run one
       <tool>look(cup)</tool>
   7 look     inherited        -     -      -      0      0  from run one
       a cup\x1b[2J and more
   8 small    kept             -     -      -      9      0  fine
       \boxed{3}
     event at step 8: forked
     event at step 9: thought: 0 tokens in mode agentic

engine   purpose  fate         calls   prompt   cached  output       s
small    draft    used             1      423        -       9    0.00
small    all                       1      423        -       9    0.00
all                                1      423        -       9    0.00
large produced 0% of all output tokens
- under cached: the server does not report it
""".strip("\n")


def test_a_timeline_shows_what_came_back_who_took_over_and_what_was_taken_back(made: Pipeline) -> None:
    assert drawn(made.journal.run("one")) == WHOLE


@dataclass(frozen=True, kw_only=True)
class Says:
    """Raises one event for each reason."""

    reason: str

    def watch(self, history: History) -> Event | None:
        return Event("overthinking", self.reason)


WORDS = " ".join(f"word{number}" for number in range(12))


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (
            f"it would answer '-436' with confidence 1; {WORDS}; uncalibrated",
            "  -- overthinking: it would answer '-436' with confidence 1; word0 word1 word2\n"
            "     word3 word4 word5 word6 word7 word8 word9 word10 word11; uncalibrated\n",
        ),
        ("算" * 60, f"  -- overthinking: {'算' * 22}\n     {'算' * 36}\n     {'算' * 2}\n"),
        ("a\x1b[2J\n\nb", "  -- overthinking: a\\x1b[2J b\n"),
        ("", "  -- overthinking\n"),
    ],
)
def test_what_was_noticed_is_told_to_its_end(reason: str, told: str) -> None:
    with agent(["\\boxed{2}"], monitors=[Says(reason=reason)], mode=None) as made:
        stored = made.journal.run(made.run("What?").run_id)
    assert told in timeline(stored).plain


def test_of_a_long_reason_the_timeline_tells_the_beginning_and_the_end() -> None:
    with agent(["\\boxed{2}"], monitors=[Says(reason=f"first {WORDS * 90} risk 0.05")], mode=None) as made:
        stored = made.journal.run(made.run("What?").run_id)
    text = timeline(stored).plain
    told = text[text.index("  -- overthinking: first word0") : text.index("  -- to large")]
    assert " … " in told and told.endswith(" risk 0.05\n") and told.count("\n") <= 6
    assert max(map(len, text.splitlines())) <= 80


def test_a_fork_begins_with_what_its_parent_was_answered_noticed_and_chose() -> None:
    small = ["<tool>look(pen)</tool>", "<tool>look(pen)</tool>", "<tool>look(cup)</tool>", "\\boxed{2}"]
    large = ["<tool>look(cap)</tool>"]
    with agent([*small, "\\boxed{3}"], large) as made:
        made.run("What?", run_id="one")
        whole = made.journal.run("one")
        name = made.graph.invoke({"run": "one", "step": 8})["run"]
        child = made.journal.run(name)
        again = made.run("What?", run_id=name)
        text = drawn(child, ancestors(made.journal, child)).replace(name, "two")
    assert [row.kind for row in whole.kept()][-1] == "thought"
    assert again.answer == "3"
    assert [row[1:6] for row in child.kept()[:8]] == [row[1:6] for row in whole.kept()[:8]]
    assert [(row.door, row.action, row.step) for row in child.decisions[:2]] == [
        ("mode", "mode", 0),
        ("handover", "handback", 6),
    ]
    assert [(event.kind, event.step) for event in child.events][:1] == [("stuck", 3)]
    assert text == CHILD


@pytest.mark.parametrize("step", range(9))
def test_an_agent_is_forked_at_any_step(step: int) -> None:
    small = ["<tool>look(pen)</tool>", "<tool>look(pen)</tool>", "<tool>look(cup)</tool>", "\\boxed{2}"]
    others = ["\\boxed{3}"] * 3

    def pipeline() -> Pipeline:
        return agent([*small, *others], ["<tool>look(cap)</tool>", *others])

    with pipeline() as made:
        made.run("What?", run_id="one")
        child = made.journal.run(made.graph.invoke({"run": "one", "step": step})["run"])
        assert child.outcome is not None and child.outcome.answer == "3"
        assert timeline(child, ancestors(made.journal, child), width=90).plain
        assert exported(child, ancestors(made.journal, child))["steps"][-1]["run"] == child.run.id


def test_a_fork_of_a_simulation_is_brought_to_where_it_begins() -> None:
    worlds: list[list[str]] = []

    def tools(task: Task) -> list[Any]:
        mine: list[str] = []
        worlds.append(mine)

        @tool(name="look")
        def looks(at: str) -> str:
            mine.append(at)
            return f"{len(mine)} seen"

        return [looks]

    small = ["<tool>look(pen)</tool>", "<tool>look(cap)</tool>", "\\boxed{2}", "<tool>look(cup)</tool>", "\\boxed{3}"]
    with agent(small, tools=tools) as made:
        made.run("What?", run_id="one")
        child = made.journal.run(made.graph.invoke({"run": "one", "step": 2})["run"])
    assert worlds == [["pen", "cap"], ["pen", "cup"]]
    assert [row.text for row in child.kept() if row.kind == "observation"] == ["1 seen", "2 seen"]


NAMES = ("look", "open", "feel")


@pytest.mark.parametrize(
    ("step", "again"), [(0, ["look", "open"]), (1, ["look", "open"]), (2, ["open"]), (3, ["open"]), (4, []), (5, [])]
)
@pytest.mark.parametrize("is_grandchild", [False, True], ids=["of a run", "of a fork"])
def test_a_fork_names_the_tools_that_may_be_called_again_though_not_idempotent(
    step: int, again: list[str], is_grandchild: bool
) -> None:
    def once(at: str) -> str:
        return f"a {at}"

    tools = [tool(name=name, idempotent=name == "feel")(once) for name in NAMES]
    turns = [f"<tool>{name}(pen)</tool>" for name in NAMES]
    with agent([*turns, "\\boxed{2}", *["\\boxed{3}"] * 2], tools=tools, monitors=[]) as made:
        made.run("What?", run_id="one")
        parent = made.graph.invoke({"run": "one", "step": 6})["run"] if is_grandchild else "one"
        child = made.journal.run(made.graph.invoke({"run": parent, "step": step})["run"])
        text = timeline(child, ancestors(made.journal, child), width=90).plain.splitlines()
    [event] = [event for event in child.events if event.kind == "forked"]
    reason = f"{', '.join(again)} may be called again, though not idempotent"
    assert loads(event.detail) == {"parent": parent, **({"again": again, "reason": reason} if again else {})}
    at = text.index(f"     event at step {step}: forked" + (f": {reason}" if again else ""))
    assert "resumed" not in text[at + 1]


class Dies(BaseException):
    """The process dies here."""


def test_a_fork_that_is_resumed_says_so_behind_where_it_begins() -> None:
    calls = 0

    def script(request: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Dies
        return "\\boxed{3}" if calls > 1 else "<tool>look(pen)</tool>"

    with agent(script) as made:
        made.run("What?", run_id="one")
        with pytest.raises(Dies):
            made.graph.invoke({"run": "one", "step": 2})
        name = made.graph.invoke({"run": "one", "step": 2})["run"]
        text = timeline(made.journal.run(name), width=90).plain
    assert [line.split(": ", 1)[1] for line in text.splitlines() if "event at step 2" in line] == ["forked", "resumed"]


def test_a_fork_at_the_beginning_is_in_the_mode_of_its_pipeline() -> None:
    with agent(["\\boxed{2}", "\\boxed{3}"]) as made:
        made.run("What?", run_id="one")
        parent, child = (made.journal.run(made.graph.invoke({"run": "one", **at})["run"]) for at in ({}, {"step": 0}))
    assert child.run.parent == "one"
    [row], [own] = ([row for row in run.decisions if row.action == "mode"] for run in (parent, child))
    assert (own.step, own.detail, own.policy) == (row.step, row.detail, row.policy)


def test_an_export_holds_observations_calls_of_tools_and_events(made: Pipeline) -> None:
    told = exported(made.journal.run("one"), ())
    assert [(step["kind"], step["writer"], step["num_tokens"] > 0) for step in told["steps"]][:2] == [
        ("action", "small", True),
        ("observation", "look", False),
    ]
    calls = [call for call in told["calls"] if call["purpose"] == "tool"]
    assert [(call["engine"], call["status"], call["ids"], call["output_tokens"]) for call in calls] == [
        ("look", "done", [], 0)
    ] * 5
    assert calls[0]["text"] == "a pen\\x1b[2J\nand more"
    [stuck] = [event for event in told["events"] if event["kind"] == "stuck"]
    assert stuck["detail"] == {
        "reason": "the same answer twice",
        "raised": stuck["detail"]["raised"],
        "value": 2.0,
        "threshold": 2.0,
    }
    [handed] = [decision for decision in told["decisions"] if decision["action"] == "handoff"]
    assert (handed["engine"], handed["door"], handed["detail"]["turns"]) == ("large", "on_events", 1)
