"""What commands say of recalling: from where, with what, and what of that has no effect."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import orchestrator as orc
from orchestrator.errors import UserError
from orchestrator.memory.handbook import Place

Call = Callable[..., Result]

TOML = """
import orchestrator as orc


def small(request):
    return r"By behavior_left: \\boxed{42}"


def large(request):
    return "blah"


def pipeline(**options):
    engines = {"small": orc.engines.Scripted(small), "large": orc.engines.Scripted(large)}
    return orc.Pipeline(engines, "small", **options)
"""


@pytest.fixture(autouse=True)
def agent(here: Path) -> None:
    (here / "agent.py").write_text(TOML)


def written(**options: str) -> tuple[str, str]:
    """Write a pipeline with these options and return the flags that name it."""
    given = ", ".join(f"{name}={value}" for name, value in options.items())
    Path("made.py").write_text(f"import orchestrator as orc\nfrom agent import pipeline\nmade = pipeline({given})\n")
    return "--pipeline", "made.py:made"


def add(orchestrator: Call, *flags: str) -> str:
    done = orchestrator("handbook", "add", "behavior_left", "Look left first.", "--section", "roads", *flags)
    assert done.exit_code == 0, done.stderr
    return done.stderr


def tasks(number: int) -> str:
    lines = [json.dumps({"prompt": f"What is {n} + 1?", "answer": "42"}) for n in range(number)]
    Path("tasks.jsonl").write_text("\n".join(lines))
    return "tasks.jsonl"


def test_who_adds_what_no_run_recalls_is_told_how_they_would(orchestrator: Call, home: Path) -> None:
    hint = f"runs recall it with --handbook {home}/journal.db, or `handbook` in [run]\n"
    assert add(orchestrator) == f"behavior 1 added\n{hint}"
    assert "--handbook 'own.db#roads', or" in add(orchestrator, "--handbook", "own.db", "--name", "roads")
    Path("orchestrator.toml").write_text('[run]\nhandbook = "own.db"\n')
    assert add(orchestrator) == "behavior 1 added\n"  # which is where runs recall from
    Path("all.jsonl").write_text('{"name": "behavior_right", "instruction": "Look right."}\n')
    assert orchestrator("handbook", "import", "all.jsonl").stderr == "1 added, 0 were there already\n"
    assert "runs recall it with" in orchestrator("handbook", "import", "all.jsonl", "--name", "roads").stderr


def test_doctor_says_what_runs_recall_from(orchestrator: Call) -> None:
    def said(**options: str) -> list[str]:
        lines = orchestrator("doctor", *written(**options)).stdout.splitlines()
        return [line for line in lines if line.split()[1] == "recall"]

    assert said() == ["ok    recall       no handbook is named: runs recall nothing"]
    assert said(handbook="'own.db'")[0] == (
        "warn  recall       handbook own.db is new and empty: there is nothing to recall yet"
    )
    assert not Path("own.db").exists()
    add(orchestrator, "--handbook", "own.db#roads")
    assert said(handbook="'own.db#roads'", recall="orc.Recall(least=0.9, sections=['sums'])") == [
        "ok    recall       handbook own.db#roads, 1 behavior",
        "warn  recall       recall: sections: no behavior of own.db#roads has section 'sums'; there are: roads",
        "warn  recall       recall: least = 0.9 has no effect without a table [embedding]: words have no scale",
        "ok    recall       by words only: no table [embedding] is configured",
    ]
    assert said(handbook="'own.db'")[1].endswith("handbook own.db is empty: there is nothing to recall yet")
    Path("own.db").write_text("no database of ours")
    assert said(handbook="'own.db'")[0].startswith("fail  recall       own.db is not a SQLite database")


def test_what_has_no_effect_is_said_before_a_run_and_by_validate(orchestrator: Call) -> None:
    Path("orchestrator.toml").write_text("[recall]\nlimit = 3\n")
    told = "[recall] has no effect without a handbook: give --handbook FILE, or `handbook` in [run]"
    assert orchestrator("config", "validate").stderr == f"warning: {told}\n"
    flags = written(recall="orc.Recall(limit=3)")
    assert told in orchestrator("run", "x", *flags).stderr.splitlines()
    assert orchestrator("run", "x", *flags, "--quiet").stderr == ""
    new = orchestrator("run", "x", *written(handbook="'typo.db'")).stderr
    assert new.startswith("handbook typo.db is new and empty: there is nothing to recall yet\n")


def test_a_run_recalls_from_the_handbook_that_is_named_in_a_file(orchestrator: Call) -> None:
    add(orchestrator, "--handbook", "own.db", "--name", "roads")
    for handbook, recalled in (("own.db", False), ("own.db#roads", True)):
        assert orchestrator("run", "Is left first?", *written(handbook=repr(handbook))).exit_code == 0
        assert ("shown    behavior_left, " in orchestrator("trace", "show", "last").stdout) == recalled
    Path("orchestrator.toml").write_text('[run]\nhandbook = "own.db#roads"\n')
    (row,) = orchestrator("handbook", "list").stdout.splitlines()[1:]
    assert row.split()[:3] == ["1", "1", "1"]  # shown and cited once


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a.db", Place("a.db")),
        ("a.db#sums", Place("a.db", "sums")),
        ("a#b.db#sums", Place("a#b.db", "sums")),
        ("a#2.db", Place("a#2.db")),
        ("a.db#", Place("a.db#")),
        ("#sums", Place("#sums")),
        ("there#sums", Place("there#sums")),
    ],
)
def test_a_name_behind_a_file_is_that_of_a_handbook_unless_the_file_is_called_so(text: str, place: Place) -> None:
    Path("there#sums").touch()
    assert Place.of(text) == place and Place.of(f"{place}") == place


def test_an_engine_that_is_no_strategist_is_not_asked_for_ever(orchestrator: Call) -> None:
    flags = written(handbook="'own.db'")
    done = orchestrator("run", tasks(8), *flags, "--learn")
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == 8
    assert done.stderr.count("nothing learned") == 5
    assert done.stderr.count("learning stops here: no behaviors can be read in any of its 5 texts: engine 'large'") == 1
    assert "learned 0 behaviors from 5 runs" in done.stderr
    later = orchestrator("handbook", "learn", *flags, "--name", "other")
    assert later.exit_code == 1 and later.stderr.count("nothing learned") == 5


def test_who_learns_needs_a_handbook_and_is_told_how_to_name_one(orchestrator: Call) -> None:
    done = orchestrator("run", "x", *written(), "--learn")
    assert (done.exit_code, done.stderr) == (
        2,
        "error: there is no handbook to learn into: set handbook=FILE of the Pipeline\n",
    )
    done = orchestrator("run", "x", "--learn", "--quiet")
    assert done.stderr.endswith("no handbook to learn into: give --handbook FILE, or `handbook` in [run]\n")


def test_the_pocket_pair_is_named_where_a_file_names_no_engine_and_never_amid_a_list(orchestrator: Call) -> None:
    Path("orchestrator.toml").write_text("[run]\nseed = 3\n")
    done = orchestrator("run", "x", "--learn")  # which ends before anything runs
    assert done.stderr.startswith("no engines named in orchestrator.toml: the pocket pair, ")
    assert "or [engines] there for your own\n" in done.stderr


def test_recall_is_public_and_explains_itself() -> None:
    from orchestrator.handbook import Recall

    assert orc.Recall is Recall
    assert all(f"\n    {name}: " in str(Recall.__doc__) for name in Recall.__slots__)
    with pytest.raises(UserError, match="give a Recall, as orchestrator"):
        orc.Pipeline({"small": orc.engines.Scripted(["a"])}, "small", recall={"limit": 3})  # type: ignore[arg-type]


def test_the_template_knows_every_key_of_recall() -> None:
    from orchestrator.cli.init import TEMPLATE

    table = TEMPLATE.partition("# [recall]\n")[2].partition("\n\n")[0]
    assert sorted(line.split()[1] for line in table.splitlines()) == sorted(orc.Recall.__slots__)


def test_who_mistypes_the_small_model_of_sentences_is_told_its_name(orchestrator: Call) -> None:
    add(orchestrator)
    Path("orchestrator.toml").write_text('[embedding]\npath = "mini"\n')
    done = orchestrator("handbook", "search", "left?")
    assert (done.exit_code, "did you mean path = 'minilm'?" in done.stderr) == (2, True), done.stderr
