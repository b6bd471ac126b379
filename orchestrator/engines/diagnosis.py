"""Why a server ended: what its log says was wrong first, and the mend where that is known.

Each process of a vLLM 0.32 server writes tracebacks of its own into one log, and the last of them says no more than
that another process failed. The cause is an error of the log's last minute that is no such echo: one with a known mend,
or else the last. A server outlives what fails in one request, and that says nothing about its end.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from orchestrator.engines.serving import MADE_FOR, OURS
from orchestrator.engines.translation import plain

__all__ = ["diagnosis", "tail", "written"]

TAIL_LINES = 40
"""vLLM says what was wrong first, and then for how many processes it was."""
TAIL_BYTES = 262_144
"""Room for the tracebacks of the workers of eight GPUs."""
SHOWN = 240
"""Characters of a cause."""
FAILURE = timedelta(minutes=1)
"""From the first error of a failure to the end of the log, by the log's own clock."""
HEARTBEAT = '"GET /health '
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
BY_REQUEST = (0, -signal.SIGTERM, 128 + signal.SIGTERM)
"""How a server ends that somebody ended; with 0 also one whose engine died."""
BY_SIGNAL_9 = "killed by signal 9: by somebody, or by the system because memory ran out (`dmesg` tells)"
WITHOUT_A_WORD = "a process of it crashed or was killed without a word, perhaps because memory ran out (`dmesg` tells)"

ROOM = (
    "make room in `args`: a lower --max-model-len, another --gpu-memory-utilization (the share of the device that is "
    "this server's), or more GPUs with --tensor-parallel-size"
)
NO_WEIGHTS = "check `model`: a folder with the weights and their config.json, or a name that the hub or its cache has"
UPDATE = f"this vLLM does not know it: update to {MADE_FOR} or newer"
ALWAYS = "|".join(flag for flag in OURS if flag.startswith("--"))
PARSER = r"(?:vllm(?: serve)?|api_server\.py)"
"""How the server's own command line signs; a compiler's errors look the same."""
MENDS = (
    (r"GatedRepo|gated repo|Access to model .* is restricted", "ask for access on the hub and put HF_TOKEN into `env`"),
    (
        r"HFValidationError|LocalEntryNotFound|RepositoryNotFound|Invalid repository ID or local directory"
        r"|not a valid model identifier|couldn't connect to .*huggingface",
        NO_WEIGHTS,
    ),
    (r"requested memory for kv", "lower VLLM_CPU_KVCACHE_SPACE in `env`: GiB of this machine's memory"),
    (
        r"out of memory|OutOfMemory|not enough GPU memory|No available memory for the cache blocks"
        r"|less than desired GPU memory utilization"
        r"|larger than the (?:available KV cache memory|maximum number of tokens that can be stored)",
        ROOM,
    ),
    (
        r"bad_alloc|MemoryError|[Cc](?:an't|annot) allocate memory",
        "this machine's memory is full: lower VLLM_CPU_KVCACHE_SPACE in `env`, or end what else needs it",
    ),
    (r"died unexpectedly|EngineDeadError|(?:Engine core|WorkerProc) initialization failed", WITHOUT_A_WORD),
    (r"greater than the derived max_model_len", "lower --max-model-len in `args`"),
    (
        r"same vocabulary size",
        "set heterogeneous_vocab = true in the table speculation, or draft with a model of the same family",
    ),
    (r"Arctic Inference is required|No module named 'arctic_inference", "or choose another speculation method"),
    (r"No module named '?orchestrator", "install this package beside vLLM: custom_class runs in its process"),
    (r"No module named '?vllm(?:\.entrypoints)?\b(?!\.)", "name an interpreter that has vLLM as `python`"),
    (rf"unrecognized arguments: .*(?:{ALWAYS})", UPDATE),
    (rf"{PARSER}: error: ", "mend `args`: `vllm serve --help` has what this version takes"),
    (
        r"SpeculativeConfig\.method = |Unsupported speculative method",
        f"choose another speculation method: the weights are not made for it, or vLLM is older than {MADE_FOR}",
    ),
    (r"SpeculativeConfig\..*(?:Unexpected keyword|Extra inputs)", UPDATE),
    (r"[Aa]ddress already in use", "end what has the port, or give the engine another url"),
    (
        r"Failed to infer device type|No CUDA GPUs are available|invalid device ordinal|available GPUs \(",
        "check CUDA_VISIBLE_DEVICES in `env` and --tensor-parallel-size in `args` against what `nvidia-smi` lists",
    ),
)
"""What a cause looks like -> what mends it; the first that fits."""

_PREFIX = re.compile(r"(?:\(\S+ pid=\d+[^)]*\) ?)?(?:[A-Z]+ (?P<time>[\d-]+ [\d:]+) \[[^\]]+\] ?)?")
"""Which process says it, how serious it is, when and where."""
_ERROR = re.compile(
    r"[\w.]*(?:Error|Exception)(?::|$)"  # the end of a traceback
    rf"|{PARSER}: error: |[\w./ -]+: (?:No module named|Error while finding module)"  # the command line's
    r"|terminate called |Fatal Python error: |Worker proc \S+ died unexpectedly \(exit code: -9\)"
)
_ECHO = re.compile(
    r"Engine core initialization failed|WorkerProc initialization failed|Worker failed with error|EngineDeadError"
    r"|Frontend process failed|Engine core process .* died|died with exit code"
)
_REFUSED = re.compile(
    r"\S+ \d+ validation errors? for (?P<what>\w+)\n(?:(?P<key>\w\S*)\n)?\s+(?:Value error, )?(?P<why>.+?)\s+"
    r"\[type=\w+, input_value=(?P<value>.*?), input_type=",
    re.DOTALL,
)
"""How pydantic refuses a value: over several lines, the value last."""
_REFUSED_LINES = 12


def diagnosis(log: str, status: int) -> str:
    """Return why a server ended, on one line and with the mend where it is known; "" where nothing says so.

    `log` is what it wrote, `status` its exit status, where 128 + n is signal n as in a shell.
    """
    if status in KILLED:  # it had no time to write why
        return BY_SIGNAL_9
    said = list(_errors(log))
    if status in BY_REQUEST and not (status == 0 and any("EngineDeadError" in each for each in said)):
        return ""
    causes = [each for each in said if not _ECHO.search(each)] or said
    for cause in reversed(causes):
        for pattern, mend in MENDS:
            if re.search(pattern, cause):
                return f"{_shown(cause)}; {mend}"
    if causes:
        return _shown(causes[-1])
    return f"killed by signal {status - 128}" if status > 128 else ""


def tail(log: Path) -> str:
    """Return the last lines of a log."""
    text = written(log)
    if text is None:
        return "(no log)"
    lines = [line for line in text.splitlines() if line.strip() and HEARTBEAT not in line]
    return "\n".join(lines[-TAIL_LINES:])


def written(log: Path, since: int = 0) -> str | None:
    """Return what was written into a log from byte `since` on, or the end of it; None where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(since, log.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return None


def _shown(cause: str) -> str:
    return plain(cause, limit=SHOWN).rstrip(". ")


def _errors(log: str) -> Iterator[str]:
    """Yield the errors of the last failure."""
    lines, times = _read(log)
    for number, line in enumerate(lines):
        if _ERROR.match(line) and times[-1] - times[number] <= FAILURE:
            refused = _REFUSED.match("\n".join(lines[number : number + _REFUSED_LINES]))
            yield line if refused is None else _refusal(**refused.groupdict())


def _read(log: str) -> tuple[list[str], list[datetime]]:
    """Return the lines without their prefixes, and when each was written: at the last time that was told until then."""
    lines, times = [], []
    told: datetime | None = None
    for line in log.splitlines():
        prefix = _PREFIX.match(line)
        assert prefix is not None  # it may be empty
        if prefix["time"]:
            with suppress(ValueError):  # no date of vLLM's, which names no year; 2000 has all days
                told = datetime.strptime(f"2000-{prefix['time']}", "%Y-%m-%d %H:%M:%S")
        lines.append(line[prefix.end() :])
        times.append(told)
    first = next((each for each in times if each is not None), datetime.min)
    return lines, [each or first for each in times]


def _refusal(what: str, key: str | None, why: str, value: str) -> str:
    first = why.partition("\n")[0]
    return f"{what}: {first}" if key is None else f"{what}.{key} = {value}: {first}"
