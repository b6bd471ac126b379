"""The report for people: what it says, in 80 columns of plain text."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from test_summary import ASKED, CONTROL, MACHINE, PRICED, sample, samples

from orchestrator.bench.columns import columns
from orchestrator.bench.cost import Use
from orchestrator.bench.summary import summarise, sweep_of
from orchestrator.bench.table import table

SETTINGS = {
    "workload": {"workload": "random-calculation", "preset": "mid", "wordings": ["one", "two"]},
    "split": "report",
    "tasks": 40,
    "seeds": 1,
    "concurrency": 4,
    "policies": ["small", "large", ASKED],
}
PLACE = {
    "machine": "Some CPU, 2 cores, Linux 6",
    "python": "3.11.7",
    "commit": "abc1234",
    "engines": {"small": "vllm 1"},
}


def summary(found: Any = None, **changes: Any) -> dict[str, Any]:
    made = summarise(samples() if found is None else found, MACHINE, PRICED, {**SETTINGS, **changes})
    return {"settings": {**SETTINGS, **changes}, "where": [PLACE], **made}


def line(text: str, name: str, block: int = 0) -> str:
    """The line about a policy in one of the tables, blanks made single."""
    found = [each for each in text.splitlines() if re.match(rf"\s*{re.escape(name)}  ", each)]
    return " ".join(found[block].split())


def test_it_begins_with_what_was_compared_and_where() -> None:
    assert table(summary()).splitlines()[:2] == [
        "40 tasks of random-calculation:mid, split report, 1 seed, 4 at once",
        "Some CPU, 2 cores, Linux 6, Python 3.11.7, commit abc1234",
    ]


def test_a_comparison_that_went_on_elsewhere_names_both_places_once() -> None:
    other = {**PLACE, "commit": ""}
    head = table({**summary(), "where": [PLACE, other, {**PLACE, "engines": {"small": "vllm 2"}}]}).split("\n\n")[0]
    assert head.count("Some CPU") == 2
    assert "commit unknown" in head
    assert "small: vllm 1" in head and "small: vllm 2" in head


def test_every_policy_has_its_figures_and_its_control_behind_it() -> None:
    text = table(summary())
    assert line(text, ASKED) == f"{ASKED} 90.0 [76.9, 96.0] +0.0 [-8.4, +8.4]"
    names = ("small", "large", ASKED, "  random, same large share")
    for each, name in zip(text.split("\n\n")[1].splitlines()[1:], names, strict=False):
        assert each.startswith(f"{name}  ")


def test_discarded_and_judge_tokens_escalations_and_the_large_share_are_there() -> None:
    assert line(table(summary()), ASKED, 3) == f"{ASKED} 25.0 4.0 1.0 20.0 5.0 0"


def test_decode_and_prefill_are_apart_for_every_engine() -> None:
    text = table(summary())
    assert "small, tokens per task" in text and "large, tokens per task" in text
    assert line(text, ASKED, 4) == f"{ASKED} 1.0 60 60 40"
    assert line(text, ASKED, 5) == f"{ASKED} 1.0 20 60 40"


def test_modelled_figures_are_called_so() -> None:
    text = table(summary())
    assert "modelled: for h200_1p5b_32b" in text.replace("\n  ", " ")
    assert "Verdicts of a verifier cost nothing here" in text.replace("\n  ", " ")
    assert "at matched accuracy" in text
    assert line(text, "random") == "random 1.00 [1.00, 1.00] 1.00 +0.0"


def test_warnings_are_at_the_end() -> None:
    failed = [
        each if each.policy != ASKED else sample(ASKED, 0, score_error="X: " + "very " * 30) for each in samples()
    ]
    assert table(summary(failed)).split("\n\n")[-1].startswith("warning: ")
    assert table(summary([])) == "warning: no task was finished by every policy yet"


LONG = "specreason:judge=verifier:threshold={}:first_n=3:on_unreadable=accept:reading=average"


def with_labels(*labels: str) -> list[Any]:
    found = []
    for each in samples(12):
        if each.policy in ("small", "large"):
            found.append(each)
        else:
            for label in labels:
                name = label if each.policy == ASKED else f"random@{label}"
                found.append(sample(name, int(each.task[-3:]), each.is_right, small=12_345, large=98_765))
    return found


@pytest.mark.parametrize(
    "labels", [[ASKED], [LONG.format(7), LONG.format(8)], ["specreason:judge=verifier:threshold=7"]]
)
def test_no_line_is_longer_than_80_columns_but_for_a_name_that_is(labels: list[str]) -> None:
    text = table(summary(with_labels(*labels), policies=["small", "large", *labels]))
    for each in text.splitlines():
        assert len(each) <= 80 or any(each.endswith(f" is {label}") for label in [*labels, *map(sweep_of, labels)])
    assert text.isascii()
    assert "\x1b" not in text
    assert not any(each != each.rstrip() for each in text.splitlines())


def test_long_labels_stay_apart_and_are_spelt_out_once() -> None:
    labels = [LONG.format(threshold) for threshold in (7, 8)]
    text = table(summary(with_labels(*labels), policies=["small", "large", *labels]))
    spelt = dict(each.split(" is ") for each in text.splitlines() if " is specreason:" in each)
    assert sorted(spelt.values()) == sorted([*labels, sweep_of(labels[0])])
    assert all(len(name) <= 30 and text.count(f"\n{name} ") > 3 for name, label in spelt.items() if label in labels)


def test_columns_that_do_not_fit_go_below() -> None:
    many = {f"profile_number_{place}": 1.0 for place in range(9)}
    made = summary()
    for each in made["policies"].values():
        each["cost"] = many
    text = table({**made, "prices": list(many)})
    assert all(len(each) <= 80 for each in text.splitlines())
    assert all(name in text for name in many)


def test_columns_that_go_below_bring_all_that_tells_rows_apart() -> None:
    rows = [(policy, kind, "0.0", "0.1") for policy in ("ours", "theirs") for kind in ("stuck", "redundant")]
    above, below = columns(("noticed", "kind", "a" * 40, "b" * 40), rows, keys=2).split("\n\n")
    assert [each.split() for each in above.splitlines()[1:]] == [[*row[:2], "0.0"] for row in rows]
    assert [each.split() for each in below.splitlines()[1:]] == [[*row[:2], "0.1"] for row in rows]


def test_a_third_engine_has_a_table_of_its_own() -> None:
    made = summary()
    for each in made["policies"].values():
        each["engines"]["huge"] = each["engines"]["large"]
    assert "huge, tokens per task" in table(made)


def test_the_control_of_a_policy_keeps_its_name_where_it_does_not_follow_it() -> None:
    found = [each for each in samples() if each.policy != ASKED]
    assert line(table(summary(found)), CONTROL).startswith(CONTROL)


def test_wall_time_is_quoted_only_where_no_run_waited_for_another() -> None:
    many, alone = (" ".join(table(summary(concurrency=number)).split()) for number in (4, 1))
    assert "as measured here" not in many and "4 runs at once, their waiting for each other in it" in many
    assert "as measured here" in alone and "runs at once" not in alone


def test_against_random_there_is_an_interval_and_what_the_choice_costs() -> None:
    text = table(summary())
    assert "against random" in text
    assert re.fullmatch(rf"{re.escape(ASKED)} [+-][0-9.]+ \[.*\] [0-9.]+ [0-9.]+", line(text, ASKED, 1))


def test_a_server_that_speculates_has_a_table_of_what_it_drafted() -> None:
    assert "as its server says" not in table(summary())
    waits = {"streamed": 2, "first_token_s": 0.03, "queue_s": 0.008, "queued": 4}
    told = Use(calls=5, decode=80, drafts=10, drafted=40, accepted=25, **waits)
    found = [
        replace(each, uses={**each.uses, "large": told}) if each.policy in ("large", ASKED) else each
        for each in samples()
    ]
    text = table(summary(found))
    block = next(part for part in text.split("\n\n") if part.startswith("large, as its server says"))
    assert line(block, ASKED) == f"{ASKED} 40 25 2.50 15.00 2.00"
    assert line(block, "small") == "small 0 0 - - -"
    assert "small, as its server says" not in text
    silent = [replace(each, uses={**each.uses, "large": replace(told, queued=0, queue_s=0.0)}) for each in found]
    block = next(part for part in table(summary(silent)).split("\n\n") if part.startswith("large, as its server says"))
    assert line(block, ASKED) == f"{ASKED} 40 25 2.50 15.00 -"
