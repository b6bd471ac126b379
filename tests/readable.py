"""Lines of an export as trainers read them: strict JSON, one type of data set, roles in turn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TYPES = (
    {"messages"},
    {"prompt", "completion", "label"},
    {"prompt", "chosen", "rejected"},
)
"""Columns by which TRL tells conversational data sets apart: language modeling, unpaired preference, preference."""


def refused(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


def read_back(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file, every one of them valid for strict readers."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    rows = [json.loads(line, parse_constant=refused) for line in text.splitlines()]
    for row in rows:
        json.dumps(row, ensure_ascii=False).encode()  # no lone surrogates
        assert row["schema_version"] == 1 and row["split"] in ("train", "calibration", "report")
    return rows


def type_of(row: dict[str, Any]) -> set[str]:
    """Return the columns that say what TRL takes a line for; its `apply_chat_template` knows no other set."""
    known = {"messages", "prompt", "completion", "chosen", "rejected", "label"} & row.keys()
    assert known in TYPES, known
    return known


def check_chat(messages: list[dict[str, Any]], *, ends: str = "assistant") -> None:
    """Check a conversation as LLaMA-Factory's reader does: who speaks takes turns, and every call is answered."""
    turns = [each for each in messages if each["role"] != "system"]
    assert all(each["role"] != "system" for each in messages[1:])
    asked: list[str] = []
    speaks = "user"
    for each in turns:
        assert isinstance(each["content"], str)
        if each["role"] == "tool":
            assert each["tool_call_id"] == asked.pop(0) and each["name"]
            speaks = "assistant" if not asked else "tool"
            continue
        assert each["role"] == speaks, (each, speaks)
        asked = [call["id"] for call in each.get("tool_calls", ())]
        speaks = "tool" if asked else "user" if speaks == "assistant" else "assistant"
    assert not asked and turns[-1]["role"] == ends
