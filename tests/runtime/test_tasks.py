"""Tasks from a file, and when an answer is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import BadTask
from orchestrator.runtime.opening import task_json
from orchestrator.runtime.tasks import fingerprint, is_correct, question_print, read_tasks
from orchestrator.types import Message, Task


def read(tmp_path: Path, *lines: bytes) -> list[tuple[int, int, str]]:
    file = tmp_path / "tasks.jsonl"
    file.write_bytes(b"\n".join(lines))
    return [(line.position, line.number, line.error) for line in read_tasks(file)]


def test_a_line_becomes_a_task_and_keeps_its_id_as_written(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(
        '\ufeff{"prompt": "one", "id": 5, "answer": 42, "source": "mine"}\n\n'
        '{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], "id": null}'
    )
    first, second = read_tasks(file)
    assert (first.position, first.number, first.id) == (0, 1, 5)
    assert first.task == Task(messages=(Message("user", "one"),), id="5", answer="42")
    assert (second.position, second.number, second.id) == (1, 3, None)
    assert second.task == Task(messages=(Message("system", "s"), Message("user", "u")))


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b'{"prompt": "a", "messages": []}', "it has both `prompt` and `messages`: give one of them"),
        (b'{"messages": "a"}', "`messages` must be a list of objects, not 'a'"),
        (b'{"messages": []}', "the prompt is empty: give a question or messages with text"),
        (b'{"messages": [{"role": "user"}]}', "a message must be an object with texts `role` and `content`, not"),
        (b'{"prompt": "a", "id": true}', "`id` must be a text or an integer, not True"),
        (b'{"prompt": "a", "answer": [1]}', "`answer` must be a text or a number, not [1]"),
        (b'{"prompt": "a", "topic": 3}', "topic = 3 must be a text: name the topic, or leave it out"),
        (b'{"prompt": "a", "topic": " "}', "topic = ' ' must be a text"),
        (b'{"prompt": "a"', "not JSON: Expecting ',' delimiter (column 15)"),
        (b"{}", "it lacks a `prompt` or `messages`; it has nothing"),
        (b"[" * 100_000, "not JSON that can be read: nested too deeply, or a number too long"),
        (b'{"prompt": ' + b"1" * 10_000 + b"}", "not JSON that can be read: nested too deeply, or a number too long"),
    ],
)
def test_a_bad_line_says_what_is_wrong_and_spoils_no_other(tmp_path: Path, line: bytes, error: str) -> None:
    (first, second, third) = read(tmp_path, b'{"prompt": "a"}', line, b'{"prompt": "b"}')
    assert (first, third) == ((0, 1, ""), (2, 3, ""))
    assert second[2].startswith(error)


def test_a_topic_is_the_tasks_and_one_without_is_stored_as_ever(tmp_path: Path) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text('{"prompt": "a", "topic": "sums"}\n{"prompt": "a", "topic": null}')
    about, plain = (line.task for line in read_tasks(file))
    assert about is not None and plain is not None
    assert about.topic == "sums" and fingerprint(about) == fingerprint(plain)
    assert task_json(about) == '{"messages": [["user", "a"]], "id": null, "answer": null, "topic": "sums"}'
    assert task_json(plain) == '{"messages": [["user", "a"]], "id": null, "answer": null}'


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTask, match=r"gone\.jsonl: No such file"):
        read_tasks(tmp_path / "gone.jsonl")


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("42", "42", True),
        (" 42 ", "42", True),
        ("42.0", "42", True),
        ("1,200.50", "1200.5", True),
        ("+7", "7", True),
        ("007", "7", True),
        ("-0.0", "0", True),
        (".5", "0.50", True),
        ("-7", "7", False),
        ("1,2", "12", False),
        ("100", "1", False),
        ("Paris", "Paris", True),
        ("paris", "Paris", False),
        ("", "0", False),
        (None, "42", False),
    ],
)
def test_an_answer_is_right_if_it_is_the_same_text_or_number(answer: str | None, gold: str, right: bool) -> None:
    assert is_correct(answer, gold) is right


ASKED = Task.of("Add 17 and 25.")


@pytest.mark.parametrize(
    ("messages", "is_same"),
    [
        ([("user", "Add 17 and 25. ")], True),
        ([("user", "\tAdd  17\nand 25.")], True),
        ([("system", "Be brief."), ("user", "Add 17 and 25.")], True),
        ([("user", "Add 17"), ("assistant", "And?"), ("user", "and 25.")], True),
        ([("user", "add 17 and 25.")], False),
        ([("user", "Add 17 and 25"), ("user", "again.")], False),
        ([("system", "Add 17 and 25."), ("user", "Twice.")], False),
        ([("system", "Add 17 and 25."), ("user", " ")], True),  # nothing else is asked
    ],
)
def test_a_question_is_the_same_however_it_is_set(messages: list[tuple[str, str]], is_same: bool) -> None:
    task = Task(messages=tuple(Message(*each) for each in messages))
    assert question_print(ASKED) == fingerprint(ASKED)
    assert (question_print(task) == question_print(ASKED)) is is_same
