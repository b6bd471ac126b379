"""Why a server ended, read from logs of vLLM 0.32. Those in logs/ are real ones, shortened; a GPU was not at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.engines.diagnosis import (
    BY_SIGNAL_9,
    NO_WEIGHTS,
    ROOM,
    UPDATE,
    WITHOUT_A_WORD,
    diagnosis,
    tail,
    written,
)

LOGS = Path(__file__).with_name("logs")
ECHO = """\
(EngineCore pid=7) Process EngineCore:
(APIServer pid=6) Traceback (most recent call last):
(APIServer pid=6)   File "vllm/v1/engine/utils.py", line 1431, in wait_for_engine_startup
(APIServer pid=6) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""
"""What the last process says, whatever the first one had."""


def in_worker(error: str) -> str:
    """Return the log of a server whose second worker met with an error."""
    at = "ERROR 11-24 21:05:41 [multiproc_executor.py:953]"
    return (
        f"(Worker_TP1 pid=9) {at} WorkerProc failed to start.\n"
        f"(Worker_TP1 pid=9) {at} Traceback (most recent call last):\n"
        f'(Worker_TP1 pid=9) {at}   File "vllm/v1/worker/gpu_worker.py", line 1, in load_model\n'
        f"(Worker_TP1 pid=9) {at} {error}\n"
        f"(EngineCore pid=7) ERROR 11-24 21:05:43 [core.py:1510] EngineCore failed to start.\n"
        "(EngineCore pid=7) ERROR 11-24 21:05:43 [core.py:1510] Exception: WorkerProc initialization failed due to an "
        f"exception in a background process. See stack trace for root cause.\n{ECHO}"
    )


@pytest.mark.parametrize(
    ("name", "cause", "mend"),
    [
        ("no-folder", "huggingface_hub.errors.HFValidationError: Repo id must be in the form ", NO_WEIGHTS),
        ("no-config", "ModelConfig: Invalid repository ID or local directory specified: '/models/empty'", NO_WEIGHTS),
        ("hub-unknown", "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find an appropriate ", NO_WEIGHTS),
        (
            "max-len",
            "ModelConfig: User-specified max_model_len (100000000) is greater than ",
            "lower --max-model-len in",
        ),
        (
            "kv200",
            "ValueError: Available memory on node 0 (20.04/23.54 GiB) on kv cache ",
            "lower VLLM_CPU_KVCACHE_SPA",
        ),
        ("kv-too-small", "ValueError: To serve at least one request with the model's max seq len (400000), ", ROOM),
        (
            "vocab",
            "SpeculativeConfig: Target and draft model should have the same vocabulary",
            "set heterogeneous_vocab ",
        ),
        (
            "suffix",
            "ImportError: Arctic Inference is required for suffix decoding. Install via ",
            "or choose another spec",
        ),
        (
            "custom-missing",
            "ImportError: Cannot import module 'orchestrator.engines.speculation.",
            "install this package ",
        ),
        (
            "bad-method",
            "SpeculativeConfig.method = 'lookahead': Input should be 'ngram', ",
            "choose another speculation ",
        ),
        ("mtp", "NotImplementedError: Unsupported speculative method: 'mtp'", "choose another speculation method"),
        (
            "unknown-flag",
            "api_server.py: error: unrecognized arguments: --per-request-spec-decode-metrixx",
            "mend `args`: ",
        ),
        ("engine-killed", "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an ", WITHOUT_A_WORD),
        ("port", "OSError: [Errno 98] Address already in use", "end what has the port, or give the engine another url"),
    ],
)
def test_a_real_log_gives_the_cause_in_the_servers_words_and_what_mends_it(name: str, cause: str, mend: str) -> None:
    found = diagnosis((LOGS / f"{name}.log").read_text(), 1)
    assert found.startswith(cause)
    assert f"; {mend}" in found
    assert len(found) < 600 and "\n" not in found


def test_every_log_is_looked_at() -> None:
    marks = test_a_real_log_gives_the_cause_in_the_servers_words_and_what_mends_it.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for mark in marks for case in mark.args[1]} == {path.stem for path in LOGS.glob("*.log")}


@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 1 has a total ",
            ROOM,
        ),
        ("RuntimeError: CUDA out of memory occurred when warming up sampler with 256 dummy requests.", ROOM),
        ("ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when ", ROOM),
        (
            "ValueError: Free memory on device cuda:1 (3.1/79.1 GiB) is less than desired GPU memory utilization",
            ROOM,
        ),
        (
            "ValueError: The max seq len (32768) is larger than the maximum number of tokens that can be stored in",
            ROOM,
        ),
        (
            "RuntimeError: Failed to infer device type, please set the environment",
            "check CUDA_VISIBLE_DEVICES in ",
        ),
        ("MemoryError", "this machine's memory is full: lower VLLM_CPU_KVCACHE_SPACE in `env`"),
        ("OSError: You are trying to access a gated repo.", "ask for access on the hub and put HF_TOKEN into `env`"),
    ],
)
def test_a_workers_error_is_the_cause_of_what_the_other_processes_say(error: str, mend: str) -> None:
    assert diagnosis(in_worker(error), 1).startswith(f"{error.strip('. ')}; {mend}")


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (
            "usage: vllm serve [-h]\n"
            "vllm serve: error: unrecognized arguments: --per-request-spec-decode-metrics detailed",
            f"vllm serve: error: unrecognized arguments: --per-request-spec-decode-metrics detailed; {UPDATE}",
        ),
        (
            "pydantic_core._pydantic_core.ValidationError: 2 validation errors for SpeculativeConfig\nmoment\n"
            "  Unexpected keyword argument [type=unexpected_keyword_argument, input_value=3, input_type=int]\n",
            f"SpeculativeConfig.moment = 3: Unexpected keyword argument; {UPDATE}",
        ),
        (
            "/opt/vllm/bin/python: No module named vllm.entrypoints",
            "/opt/vllm/bin/python: No module named vllm.entrypoints; name an interpreter that has vLLM as `python`",
        ),
        (
            f"(EngineCore pid=7) ERROR 11-24 21:05:43 [multiproc_executor.py:315] Worker proc VllmWorker-1 died "
            f"unexpectedly (exit code: -9), shutting down executor.\n{ECHO}",
            f"Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor; {WITHOUT_A_WORD}",
        ),
        (
            "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n",
            "terminate called after throwing an instance of 'std::bad_alloc'; this machine's memory is full: lower "
            "VLLM_CPU_KVCACHE_SPACE in `env`, or end what else needs it",
        ),
        (in_worker("KeyError: 'layers.0.mlp'"), "KeyError: 'layers.0.mlp'"),
        ("ValueError: \x1b[31mred\x1b[0m", "ValueError: \ufffd[31mred\ufffd[0m"),
    ],
)
def test_an_error_is_one_line_with_the_mend_where_there_is_one(log: str, found: str) -> None:
    assert diagnosis(log, 1) == found


def test_a_cause_that_is_known_goes_before_a_later_one_that_is_not() -> None:
    log = in_worker("torch.OutOfMemoryError: CUDA out of memory.") + "RuntimeError: cannot schedule new futures\n"
    assert diagnosis(log, 1).startswith("torch.OutOfMemoryError: CUDA out of memory; ")


AT = "(EngineCore pid=7) ERROR 11-24 {} [core.py:1]"


def test_an_error_that_the_server_outlived_is_not_its_cause_even_where_its_mend_is_known() -> None:
    then, now = AT.format("19:05:43"), AT.format("21:05:43")
    old = f"{then} huggingface_hub.errors.LocalEntryNotFoundError: no such adapter\n"
    asked = 'INFO:     127.0.0.1:5 - "POST /v1/completions HTTP/1.1" 200 OK\n'
    log = f"{old}{asked}{now} RuntimeError: CUDA error: an illegal memory access\n{ECHO}"
    assert diagnosis(log, 1) == "RuntimeError: CUDA error: an illegal memory access"
    assert diagnosis(f"{old}{asked}{now} all is well\n", 1) == ""
    new_year = (
        f"{AT.format('x').replace('11-24 x', '12-31 23:59:59')} KeyError: 'a'\n{now.replace('11-24', '01-01')} so\n"
    )
    assert diagnosis(new_year, 1) == "KeyError: 'a'"


def test_a_date_that_is_not_vllms_tells_no_time() -> None:
    assert diagnosis("ERROR 2026-11-24 21:05:43 [a.py:1] KeyError: 'a'\n", 1) == "KeyError: 'a'"


def test_an_error_before_the_first_time_that_is_told_is_as_old_as_that() -> None:
    log = f"ValueError: early\n{AT.format('19:05:43')} up\n{AT.format('21:05:43')} still up\n"
    assert diagnosis(log, 1) == ""


@pytest.mark.parametrize("status", [0, 143, -15])
def test_a_server_that_somebody_ended_has_no_cause(status: int) -> None:
    assert diagnosis("ValueError: a request a moment ago\n", status) == ""


def test_a_server_that_ends_in_order_because_its_engine_was_killed_says_so() -> None:
    log = (LOGS / "engine-killed.log").read_text()
    assert diagnosis(log, 0).endswith(f"; {WITHOUT_A_WORD}")
    assert diagnosis(log, 143) == ""


@pytest.mark.parametrize("said", ["collect2: error: ld returned 1 exit status", "a.c:1:1: error: 'x' undeclared"])
def test_a_compilers_error_is_not_about_the_servers_flags(said: str) -> None:
    assert (
        diagnosis(f"{said}\nRuntimeError: Failed to find C compiler.\n", 1) == "RuntimeError: Failed to find C compiler"
    )
    assert diagnosis(f"{said}\n", 1) == ""


def test_a_part_of_vllm_that_is_missing_does_not_mean_that_vllm_is() -> None:
    missing = "ModuleNotFoundError: No module named 'vllm._C'"
    assert diagnosis(f"{missing}\n", 1) == missing
    assert diagnosis("ModuleNotFoundError: No module named 'vllm'\n", 1).endswith("that has vLLM as `python`")


def test_where_one_process_says_that_another_failed_and_that_one_nothing_it_was_killed_or_crashed() -> None:
    found = diagnosis(ECHO, 1)
    assert found.startswith(
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s)"
    )
    assert found.endswith(f"; {WITHOUT_A_WORD}")


@pytest.mark.parametrize("status", [-9, 137])
def test_a_server_that_was_killed_did_not_write_why(status: int) -> None:
    assert diagnosis("ValueError: a request of an hour ago\n", status) == BY_SIGNAL_9


def test_a_signal_is_named_where_the_log_says_nothing_and_else_nothing_is_made_up() -> None:
    assert diagnosis("INFO: all is well\n", 139) == "killed by signal 11"
    assert diagnosis("Exception ignored in: <generator>\nINFO: Error rate 0\n", 1) == ""
    assert diagnosis("", 0) == ""


def test_a_log_shows_its_end_without_our_own_questions_and_one_that_is_not_there_says_so(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    assert tail(log) == "(no log)"
    asked = 'INFO:     127.0.0.1:5 - "GET /health HTTP/1.1" 200 OK'
    log.write_text("".join(f"line {number}\n\n{asked}\n" for number in range(20_000)))
    lines = tail(log).splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("line 19960", "line 19999", 40)


def test_what_an_earlier_server_wrote_is_not_read(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("ValueError: then\nnow\n")
    assert written(log, log.read_text().index("now")) == "now\n"
