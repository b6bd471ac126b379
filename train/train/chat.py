"""The pair's one chat format: markers, template, and the fixed prompts of its forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = [
    "CHAT_TEMPLATE",
    "CLOSED_THINK",
    "END",
    "JUDGE_PROMPT",
    "OPEN_THINK",
    "ROLES",
    "VERDICT_PROMPT",
    "judge_suffix",
    "render",
]

ROLES: Mapping[str, str] = {role: f"<|{role}|>" for role in ("system", "user", "assistant", "tool")}
END = "<|end|>"
"""Ends every turn; also the end-of-sequence token."""
OPEN_THINK = "<think>\n"
"""What the generation prompt opens with while thinking is on; each step that follows ends with a blank line."""
CLOSED_THINK = "<think>\n\n</think>\n"
"""The same with thinking off."""
"""Appended to a thought that was cut anywhere, this forces the answer."""

JUDGE_PROMPT = "Rate the last step 0-9."
"""Asked, thinking off, right after an assistant turn that is an open thought; the reply is one digit."""
VERDICT_PROMPT = "Is this right? CORRECT or INCORRECT."
"""Asked, thinking off, after a whole answer or some turns of an agent; the reply is one of the two words."""

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' and not message['content'].startswith('<think>') -%}"
    "{{- '<think>\\n\\n</think>\\n' -}}"
    "{%- endif -%}"
    "{{- message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|assistant|>' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}"
    "{{- '<think>\\n\\n</think>\\n' -}}"
    "{%- else -%}"
    "{{- '<think>\\n' -}}"
    "{%- endif -%}"
    "{%- endif -%}"
)
"""Jinja. Thoughts in earlier assistant turns are kept verbatim, so a judge's prompt extends the thought
token for token; an earlier assistant turn without a thought gets the closed block."""


def render(
    messages: Sequence[Mapping[str, str]], *, add_generation_prompt: bool = True, enable_thinking: bool = True
) -> str:
    """What CHAT_TEMPLATE renders, without Jinja."""
    parts = []
    for message in messages:
        role, content = message["role"], message["content"]
        if role == "assistant" and not content.startswith("<think>"):
            content = CLOSED_THINK + content
        parts.append(ROLES[role] + content + END)
    if add_generation_prompt:
        parts.append(ROLES["assistant"] + (OPEN_THINK if enable_thinking else CLOSED_THINK))
    return "".join(parts)


def judge_suffix(question: str = JUDGE_PROMPT) -> str:
    """What turns a rendered open thought into a question about it: the turn is closed, the user asks."""
    return END + ROLES["user"] + question + END + ROLES["assistant"] + CLOSED_THINK
