"""The configuration: every mistake names the file, the key and the mend."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from orchestrator.config import RunOptions, default_db, load
from orchestrator.engines.embedding import EmbeddingSpec
from orchestrator.engines.pocket import pocket_pair
from orchestrator.engines.serving import Serving
from orchestrator.engines.spec import EngineSpec, JudgePrompt, ProbePrompt, VerdictPrompt
from orchestrator.engines.speculation.profiles import Eagle, Eagle3, NGram
from orchestrator.errors import BadConfig
from orchestrator.ledger import Price
from orchestrator.routers import LargeOnly, Random, SpecReason
from orchestrator.routers import find as find_router
from orchestrator.runtime.build import monitors_of
from orchestrator.runtime.pipeline import Pipeline
from orchestrator.types import Budget, Overlap

SMALL = '[engines.small]\nkind = "vllm"\nurl = "http://127.0.0.1:8001/v1"\n'
LARGE = '[engines.large]\nkind = "vllm"\nurl = "http://127.0.0.1:8002/v1"\n'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(text: str, flags: dict[str, Any] | None = None) -> Any:
    Path("orchestrator.toml").write_text(text)
    return load(None, flags)


def test_without_a_file_everything_has_its_default() -> None:
    config = load()
    assert (config.engines, config.file, config.is_pocket) == (pocket_pair(), None, True)
    assert config.router == SpecReason()
    assert config.budget == Budget(tokens=16384)
    assert config.run == RunOptions()


def test_sampling_flags_reach_the_pocket_pair_and_are_checked() -> None:
    assert load(flags={"sampling": {"temperature": 0.0}}).engines == pocket_pair(temperature=0.0)
    with pytest.raises(BadConfig, match=r"command line: engines\.small\.temperature must be"):
        load(flags={"sampling": {"temperature": "hot"}})


def test_every_section_reaches_its_place() -> None:
    config = loaded(
        "schema_version = 1\n"
        + SMALL
        + 'model = "r1"\napi_key = "k"\ntimeout_s = 5\ntemperature = 0\ntop_k = 20\nprice = { output = 2.5 }\n'
        + LARGE
        + '[router]\nname = "random"\nlarge_share = 0.25\n'
        + "[budget]\nseconds = 60\nengines.large.tokens = 100\n"
        + '[run]\nthink = true\nanswer = "boxed"\ngranularity = "fused"\noverlap = 2\nhedge = 0.5\n'
    )
    small = config.engines["small"]
    assert list(config.engines) == ["small", "large"]
    assert (small.kind, small.url, small.model, small.api_key) == ("vllm", "http://127.0.0.1:8001/v1", "r1", "k")
    assert (small.timeout_s, small.sampling.temperature, small.sampling.top_k) == (5.0, 0.0, 20)
    assert small.price == Price(output=2.5)
    assert config.router == Random(large_share=0.25)
    assert config.budget == Budget(tokens=16384, seconds=60, engines={"large": Budget(tokens=100)})
    assert (config.run.think, config.run.answer, config.run.granularity) == (True, "boxed", "fused")
    options = config.pipeline_options()
    assert options["router"] is config.router and options["think"] is True and "concurrency" not in options
    assert options["overlap"] == Overlap(ahead=2, hedge=0.5)


def test_the_files_order_of_engines_is_kept() -> None:
    assert list(loaded(LARGE + SMALL).engines) == ["large", "small"]


def test_environment_variables_fill_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST_NAME", "10.0.0.7")
    monkeypatch.setenv("KEY", "s3cret")
    config = loaded('[engines.small]\nkind = "vllm"\nurl = "http://${HOST_NAME}:8001"\napi_key = "${KEY}"\n')
    assert config.engines["small"].url == "http://10.0.0.7:8001"
    assert config.engines["small"].api_key == "s3cret"
    assert config.shown_keys == {"small": "from ${KEY}"}
    assert "s3cret" not in repr(config)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("", None),
        ('[embedding]\npath = "minilm"\n', EmbeddingSpec(path="minilm")),
        ('[embedding]\npath = "models/e.gguf"\n', EmbeddingSpec(path="models/e.gguf")),
        (
            '[embedding]\nurl = "http://${SECRET}:8003/v1"\nmodel = "m"\napi_key = "${SECRET}"\ntimeout_s = 5\n',
            EmbeddingSpec(url="http://hunter2:8003/v1", model="m", api_key="hunter2", timeout_s=5.0),
        ),
    ],
)
def test_the_embedding_reaches_the_pipeline(secret: str, text: str, spec: EmbeddingSpec | None) -> None:
    config = loaded(text)
    assert config.embedding == spec and config.pipeline_options()["embedding"] == spec
    assert config.shown_embedding_key == ("from ${SECRET}" if spec and spec.api_key else None)
    assert secret not in repr(config).replace("http://hunter2:8003/v1", "")
    assert (Pipeline(**config.pipeline_options()).embedding is None) == (spec is None)


def test_the_file_of_an_embedding_is_beside_the_configuration(here: Path) -> None:
    (here / "conf").mkdir()
    (here / "conf" / "o.toml").write_text('[embedding]\npath = "e.gguf"\n')
    assert load(Path("conf/o.toml")).embedding == EmbeddingSpec(path="conf/e.gguf")


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SECRET", "hunter2")
    return "hunter2"


def test_what_came_from_the_environment_is_shown_as_it_was_written(secret: str) -> None:
    config = loaded(
        SMALL.replace("127.0.0.1", "${SECRET}")
        + 'api_key = "${SECRET}"\nmodel = "m"\n'
        + '[engines.gone]\nkind = "embedded"\npath = "/${SECRET}"\n'
        + '[run]\ndb = "/${SECRET}.db"\nanswer = ["boxed", "regex:${SECRET}"]\ndelimiter = "."\n',
        {"engines": {"gone": {"kind": "embedded", "path": "/new"}}, "run": {"delimiter": ";"}},
    )
    engines = {name: {"url": spec.url, "path": spec.path, "model": spec.model} for name, spec in config.engines.items()}
    run = {"db": config.run.db, "answer": config.run.answer, "delimiter": config.run.delimiter}
    assert secret in str(engines) and secret in str(run)
    assert config.shown({"engines": engines, "run": run, "schema_version": 1}) == {
        "engines": {
            "small": {"url": "http://${SECRET}:8001/v1", "path": None, "model": "m"},
            "gone": {"url": None, "path": "/new", "model": None},
        },
        "run": {"db": "/${SECRET}.db", "answer": ["boxed", "regex:${SECRET}"], "delimiter": ";"},
        "schema_version": 1,
    }
    assert config.shown_keys == {"small": "from ${SECRET}"}


@pytest.mark.parametrize(
    "text",
    [
        '[router]\nthreshold = "${SECRET}"\n',
        '[engines.small]\nkind = "${SECRET}"\n',
        SMALL + 'temperature = "${SECRET}"\n',
        SMALL + 'price = { output = "${SECRET}" }\n',
        '[budget]\ntokens = "${SECRET}"\n',
    ],
)
def test_a_wrong_value_from_the_environment_is_not_repeated(secret: str, text: str) -> None:
    with pytest.raises(BadConfig, match=r"\$\{SECRET\}") as caught:
        loaded(text)
    assert secret not in str(caught.value)


@pytest.mark.parametrize("url", ["http://bob:hunter2@host", "http://host/v1?key=${SECRET}", "http://[#hunter2"])
def test_an_address_with_room_for_a_secret_is_refused_and_not_shown(secret: str, url: str) -> None:
    flags = {"engines": {"small": {"kind": "vllm", "url": url.replace("${SECRET}", secret)}}}
    for text, given in ((SMALL.replace("http://127.0.0.1:8001/v1", url), {}), ("", flags)):
        with pytest.raises(BadConfig, match=r"^[^\n]*: engines\.small: the url holds a [^\n]*$") as caught:
            loaded(text, given)
        assert secret not in str(caught.value)


def test_a_key_given_by_a_flag_is_not_shown() -> None:
    given = {"kind": "vllm", "url": "http://127.0.0.1:9", "api_key": "s3cret"}
    assert loaded("", {"engines": {"small": given}}).shown_keys == {"small": "***"}


def test_paths_are_relative_to_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    (here / "conf").mkdir()
    file = here / "conf" / "mine.toml"
    file.write_text(
        '[engines.a]\nkind = "embedded"\npath = "m.gguf"\n[engines.b]\nkind = "embedded"\npath = "~/m.gguf"\n'
        '[run]\ndb = "runs.db"\n'
    )
    config = load(file)
    assert config.engines["a"].path == str(here / "conf" / "m.gguf")
    assert config.engines["b"].path == "/home/someone/m.gguf"
    assert config.run.db == str(here / "conf" / "runs.db")
    assert load(file, {"run": {"db": "here.db"}}).run.db == "here.db"


def test_flags_override_the_file_and_zero_is_a_value() -> None:
    flags = {"router": {"threshold": 0.0}, "run": {"seed": 0}, "sampling": {"temperature": 0.0}}
    config = loaded(SMALL + LARGE + "temperature = 1\n[router]\nthreshold = 5\n[run]\nseed = 3\n", flags)
    assert config.router == SpecReason(threshold=0.0)
    assert config.run.seed == 0
    assert [spec.sampling.temperature for spec in config.engines.values()] == [0.0, 0.0]


def test_another_router_takes_none_of_the_old_ones_options() -> None:
    config = loaded('[router]\nname = "specreason"\nthreshold = 5\n', {"router": {"name": "large"}})
    assert config.router == LargeOnly()


def test_engines_from_flags_replace_their_namesakes_or_join_at_their_end() -> None:
    given = {"kind": "llamacpp", "url": "http://127.0.0.1:9"}
    replaced = loaded(SMALL + 'api_key = "k"\n' + LARGE, {"engines": {"small": given}})
    assert list(replaced.engines) == ["small", "large"]
    assert (replaced.engines["small"].kind, replaced.engines["small"].api_key) == ("llamacpp", None)
    joined = loaded(SMALL.replace("small", "middle"), {"engines": {"small": given, "large": given}})
    assert list(joined.engines) == ["small", "middle", "large"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a = \n", "orchestrator.toml:1:5: broken TOML: Invalid value"),
        ("[run]\nseed = 1\nseed = 2\n", "orchestrator.toml:3:9: broken TOML: Cannot overwrite a value"),
        ('[run]\ndelimiter = "', "orchestrator.toml:2:14: broken TOML: "),
        ("[engine.small]\n", "engine: no such key; did you mean 'engines'? known: schema_version, engines, router, "),
        ("schema_version = 2\n", "schema_version = 2; this version of the program knows 1"),
        ("engines = 3\n", "engines is not a table: write [engines]"),
        ("[engines]\nsmall = 3\n", "engines.small is not a table: write [engines.small]"),
        ("[engines.small]\n", "engines.small: no kind; known: chat, embedded, llamacpp, pooling, vllm"),
        ('[engines.small]\nkind = "vlm"\n', "small: kind = 'vlm'; known: chat, embedded, llamacpp, pooling, vllm"),
        ('[engines.small]\nkind = "vllm"\n', "engines.small: kind 'vllm' needs url"),
        (SMALL + "temprature = 1\n", "engines.small.temprature: no such key; did you mean 'temperature'? known: "),
        (SMALL + 'temperature = "hot"\n', "engines.small.temperature must be a valid number, not 'hot'"),
        (SMALL + "temperature = -1\n", "engines.small: sampling option temperature = -1.0 is out of range"),
        (SMALL + "max_tokens = true\n", "engines.small.max_tokens must be a valid integer, not True"),
        (SMALL + "timeout_s = 0\n", "engines.small.timeout_s must be above 0, not 0.0"),
        (SMALL + "price = { input = 1 }\n", "engines.small.price.input: no such key; known: prompt, cached, output"),
        ('[router]\nname = "spec"\n', "router.name: no router named 'spec'; known: "),
        ('[router]\nname = "large"\nthreshold = 7\n', "router.threshold: no such key; known: none"),
        ("[router]\nthreshold = 11\n", "router: specreason: threshold = 11.0 is not in [0, 10]"),
        ("embedding = 3\n", "embedding is not a table: write [embedding]"),
        ("[embedding]\n", 'embedding: an embedding needs a url or a path, and has neither: path = "minilm" is a small'),
        ('[embedding]\nfile = "a"\n', "embedding.file: no such key; known: url, path, model, api_key, timeout_s"),
        ("[embedding]\nurl = 3\n", "embedding.url must be a valid string, not 3"),
        ('[embedding]\npath = "a"\nmodel = "m"\n', "embedding: model is for a server: leave it out beside a path"),
        ('[embedding]\npath = "a"\ntimeout_s = 0\n', "embedding: timeout_s = 0.0 must be above 0"),
        ("[budget]\ntokens = 0\n", "budget: budget tokens = 0: a limit is a whole number above 0"),
        ("[recall]\nlimit = 0\n", "toml: recall: limit = 0 must be a whole number, at least 1"),
        ("[budget]\ntokens = 1.5\n", "budget.tokens must be a valid integer, not 1.5"),
        (SMALL + "[budget.engines.huge]\ntokens = 1\n", "budget.engines.huge: no such key; known: small"),
        (SMALL + "[budget.engines.small]\nsteps = 1\n", "budget of engine 'small': only tokens, prompt_tokens"),
        ("[run]\noverlap = -1\n", "overlap ahead = -1 must be a whole number from 0 to 64"),
        ("[run]\nhedge = 2.0\n", "overlap hedge = 2.0 is not in [0, 1]"),
        ('[run]\ngranularity = "fine"\n', "run.granularity must be 'steps' or 'fused', not 'fine'"),
        ('[run]\ndelimiter = ""\n', "run: delimiter is empty: a step has to end somewhere"),
        ("[run]\nconcurrency = 0\n", "run: concurrency = 0 must be at least 1"),
        ("[run]\nmonitors = 1\n", "run.monitors: no such key; known: delimiter, think, "),
        ('[run]\ndb = "~nobody-here/x.db"\n', "run.db = '~nobody-here/x.db' is in the home of a user who is not known"),
        ('[engines.small]\nkind = "embedded"\npath = "~nobody-here/x"\n', "engines.small.path = '~nobody-here/x' is"),
        (SMALL + '[engines.small.serve]\nmodel = "~nobody-here/x"\n', "engines.small.serve.model = '~nobody-here/x'"),
        (
            SMALL + '[engines.small.serve]\nmodel = "m"\nspeculation = { method = "eagle", model = "~nobody-here" }\n',
            "engines.small.serve.speculation.model = '~nobody-here' is in the home of a user who is not known here",
        ),
        ('[run]\ndb = "${NO_SUCH_VARIABLE}"\n', "run.db needs the environment variable NO_SUCH_VARIABLE, which"),
    ],
)  # fmt: skip
def test_a_mistake_names_the_file_the_key_and_what_would_have_worked(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(text)
    assert "orchestrator.toml" in str(caught.value)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_defaults_are_those_of_a_pipeline_made_in_python() -> None:
    python = {name: given.default for name, given in signature(Pipeline.__init__).parameters.items()}
    for name, value in load().pipeline_options().items():
        if name == "monitors":
            assert value == monitors_of(python[name])
        elif name not in ("engines", "router"):
            assert value == (list(python[name]) if name == "answer" else python[name]), name
    assert load().router == find_router(python["router"])()


@pytest.mark.parametrize("given", ["3", "['a']", "{ a = 1 }"])
def test_a_key_of_the_wrong_type_is_not_repeated(given: str) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(SMALL + f"api_key = {given}\n")
    assert str(caught.value) == "orchestrator.toml: engines.small.api_key must be a valid string"


def test_a_mistake_in_a_flag_names_the_command_line() -> None:
    with pytest.raises(BadConfig, match=r"^command line: router.threshold must be a valid number, not 'x'$"):
        loaded("[router]\nthreshold = 3\n", {"router": {"threshold": "x"}})


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory; `orchestrator init` writes"), (b"\xff", "not UTF-8"), (b"#" * 2**21, "MiB")],
)
def test_a_file_that_cannot_be_read_is_named(here: Path, content: bytes | None, said: str) -> None:
    file = here / "mine.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadConfig) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert said in str(caught.value)


def test_the_journals_default_place_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATOR_HOME", "/a")
    assert default_db() == Path("/a/journal.db")
    monkeypatch.delenv("ORCHESTRATOR_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/b")
    assert default_db() == Path("/b/orchestrator/journal.db")
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", "/c")
    assert default_db() == Path("/c/.local/share/orchestrator/journal.db")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[engines.small]\nkind = "embedded"\npath = "x.gguf"\nparallel = 0\n', "parallel = 0 must be at least 1"),
        ('[engines.small]\nkind = "embedded"\npath = "x.gguf"\ncontext = -5\n', "context = -5 must be at least 1"),
        (SMALL + "price = { output = nan }\n", "price output = nan must be a number of at least 0"),
        (SMALL + "price = { output = -1.0 }\n", "price output = -1.0 must be a number of at least 0"),
        (SMALL + "temperature = inf\n", "sampling option temperature = inf is out of range"),
        ("[budget]\nseconds = inf\n", "budget seconds = inf: a limit is a number above 0"),
        ("[budget]\ntokens = 99999999999999999\n", "budget tokens = 99999999999999999: a limit is"),
        (SMALL + "max_tokens = 99999999999999999\n", "sampling option max_tokens = 99999999999999999 is out of range"),
        ('[run]\ndb = ""\n', "run: db is empty: name a file"),
        ("schema_version = true\n", "schema_version = True; this version of the program knows 1"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(text)
    assert said in str(caught.value)


SERVED = LARGE + "[engines.large.serve]\n"
DRAFTING = SERVED + 'model = "m"\n[engines.large.serve.speculation]\n'


def test_a_server_to_be_started_is_described_whole() -> None:
    config = loaded(
        SMALL
        + SERVED
        + 'model = "Qwen/QwQ-32B"\nargs = ["-tp", "2"]\n'
        + 'env = { CUDA_VISIBLE_DEVICES = "0,1" }\npython = "/opt/bin/python"\n'
        + "[engines.large.serve.speculation]\n"
        + 'method = "eagle3"\nmodel = "a/head"\ntokens = 3\nschedule = [[1, 8, 3], [9, 64, 0]]\n'
    )
    assert config.engines["small"].serving is None
    assert config.engines["large"].serving == Serving(
        model="Qwen/QwQ-32B",
        args=["-tp", "2"],
        env={"CUDA_VISIBLE_DEVICES": "0,1"},
        python="/opt/bin/python",
        speculation=Eagle3(model="a/head", tokens=3, schedule=[[1, 8, 3], [9, 64, 0]]),
    )


def test_drafting_is_by_ngrams_unless_the_file_says_otherwise() -> None:
    assert loaded(SERVED + 'model = "m"\n').engines["large"].serving == Serving(model="m", speculation=NGram())
    assert loaded(DRAFTING + "tokens = 2\n").engines["large"].serving.speculation == NGram(tokens=2)


POOLING = '[engines.prm]\nkind = "pooling"\nurl = "http://127.0.0.1:8003/v1"\n'


def test_a_reward_model_writes_nothing_drafts_nothing_and_is_asked_nothing_unless_the_file_says_so() -> None:
    spec = loaded(POOLING + 'step_tag = "<extra_0>"\n[engines.prm.serve]\nmodel = "m"\n' + SMALL).engines["prm"]
    assert (spec.writes, spec.step_tag, spec.judge) == (False, "<extra_0>", None)
    assert spec.serving == Serving(model="m", speculation=None)
    asked = loaded(POOLING + 'writes = false\n[engines.prm.judge]\nquestion = "Right?"\n' + SMALL).engines["prm"]
    assert asked.judge == JudgePrompt(question="Right?")


def test_an_engine_s_words_for_a_verdict_are_read_from_the_file_and_checked() -> None:
    spec = loaded(SMALL + '[engines.small.verdict]\nright = "YES"\nwrong = "NO"\n').engines["small"]
    assert spec.verdict == VerdictPrompt(right="YES", wrong="NO")
    assert loaded(SMALL).engines["small"].verdict is None
    with pytest.raises(BadConfig, match=r"engines.small.verdict.*neither word may begin with the other"):
        loaded(SMALL + '[engines.small.verdict]\nright = "YES"\nwrong = "Y"\n')


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[engines.prm]\nkind = "pooling"\n', "engines.prm: kind 'pooling' needs url"),
        (POOLING + "writes = true\n", "engines.prm: an engine of kind pooling can only measure"),
        (POOLING + 'step_tag = ""\n', "engines.prm: step_tag = ''"),
        (SMALL + 'step_tag = "<s>"\n', "engines.small: step_tag = '<s>': name the tag that an engine of kind pooling"),
        (
            POOLING + '[engines.prm.serve]\nmodel = "m"\nspeculation = { method = "ngram" }\n',
            "engines.prm: an engine of kind pooling has no tokens to draft: leave speculation out",
        ),
    ],
)
def test_what_a_reward_model_cannot_do_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(text)
    assert said in str(caught.value)


def test_method_none_turns_drafting_off() -> None:
    assert loaded(DRAFTING + 'method = "none"\n').engines["large"].serving.speculation is None


def test_weights_and_an_interpreter_beside_the_file_are_found_from_anywhere(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    (here / "conf").mkdir()
    file = here / "conf" / "mine.toml"
    file.write_text(
        SERVED
        + 'model = "./weights"\npython = "../venv/bin/python"\n'
        + '[engines.large.serve.speculation]\nmethod = "eagle"\nmodel = "~/head"\n'
    )
    serving = load(Path("conf/mine.toml")).engines["large"].serving
    assert serving is not None
    assert (serving.model, serving.python) == (f"{here}/conf/weights", f"{here}/conf/../venv/bin/python")
    assert serving.speculation == Eagle(model="/home/someone/head")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LARGE + "serve = 3\n", "engines.large.serve is not a table: write [engines.large.serve]"),
        (SERVED, "engines.large.serve needs model"),
        (SERVED + "model = 3\n", "engines.large.serve.model must be a valid string, not 3"),
        (SERVED + 'model = ""\n', "engines.large.serve: model is empty: name the weights, or their folder"),
        (SERVED + 'model = "m"\nflags = []\n', "serve.flags: no such key; did you mean 'args'? "),
        (SERVED + 'model = "m"\nargs = "-tp 2"\n', "engines.large.serve.args must be "),
        (SERVED + 'model = "m"\nargs = ["--port", "1"]\n', "serve: args has --port, which follows from the url"),
        (SERVED + 'model = "m"\nenv = { A = 1 }\n', "engines.large.serve.env must be a valid string, not {'A': 1}"),
        (SERVED + 'model = "m"\nspeculation = "none"\n', "write [engines.large.serve.speculation]"),
        (DRAFTING + "tokens = 2.5\n", "serve.speculation.tokens must be a valid integer, not 2.5"),
        (DRAFTING + "lookup = 2\n", "serve.speculation.lookup: no such key; did you mean 'lookup_min'? "),
        (DRAFTING + 'method = "none"\ntokens = 2\n', "serve.speculation.tokens: no such key; known: method"),
        (DRAFTING + "method = 1\n", "serve.speculation.method must be a valid string, not 1"),
        (DRAFTING + 'method = "eagle3"\n', "engines.large.serve.speculation needs model"),
        (DRAFTING + 'method = "mlp_speculator"\n', "speculation.method: speculation method 'mlp_speculator' is "),
        (DRAFTING + 'method = "custom_class"\nschedule = [[1, 4, 2]]\n', "custom_class takes no schedule: "),
        (DRAFTING + "schedule = [[1, 4]]\n", "serve.speculation: schedule row [1, 4]: write [first batch size, "),
        (SERVED.replace("127.0.0.1", "10.0.0.7") + 'model = "m"\n', "engines.large: http://10.0.0.7:8002/v1: a "),
        (SERVED.replace('"vllm"', '"llamacpp"') + 'model = "m"\n', "engines.large: serve is for an engine of kind"),
        (LARGE + 'min_p = 0.1\n[engines.large.serve]\nmodel = "m"\n', "engines.large: min_p and speculation exclude"),
    ],
)  # fmt: skip
def test_a_server_that_could_not_be_started_so_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as caught:
        loaded(text)
    assert str(caught.value).startswith("orchestrator.toml: engines.large")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_min_p_of_a_flag_is_refused_as_well() -> None:
    with pytest.raises(BadConfig, match=r"engines\.large: min_p and speculation exclude each other"):
        loaded(SERVED + 'model = "m"\n', {"sampling": {"min_p": 0.1}})
    assert loaded(DRAFTING + 'method = "none"\n', {"sampling": {"min_p": 0.1}}).engines["large"].sampling.min_p == 0.1


def test_a_servers_environment_is_not_repeated(secret: str) -> None:
    with pytest.raises(BadConfig, match=r"env must be a valid string, not .*\$\{SECRET\}") as caught:
        loaded(SERVED + 'model = "m"\nenv = { A = 1, TOKEN = "${SECRET}" }\n')
    assert secret not in str(caught.value)
    assert secret not in repr(loaded(SERVED + 'model = "m"\nenv = { TOKEN = "${SECRET}" }\n'))


def test_what_a_stored_run_is_compared_by_grows_only_where_an_option_is_used() -> None:
    plain = {"kind", "url", "model", "path", "context", "think", "writes", "sampling"}
    assert set(EngineSpec(kind="vllm", url="http://127.0.0.1:8001").settings()) == plain
    tagged = EngineSpec(kind="pooling", url="http://127.0.0.1:8001", writes=False, step_tag="<extra_0>")
    assert set(tagged.settings()) == {*plain, "step_tag"}


def test_how_an_engine_is_made_to_answer_is_a_table_of_its_own() -> None:
    spec = loaded(SMALL + '[engines.small.probe]\ncloses = "</think>\\n"\n').engines["small"]
    assert spec.probe == ProbePrompt(closes="</think>\n")
    with pytest.raises(BadConfig, match=r"engines\.small\.probe: opens = 'So ': end it with the brace"):
        loaded(SMALL + '[engines.small.probe]\nopens = "So "\n')
    with pytest.raises(BadConfig, match=r"engines\.small\.probe\.open: no such key; did you mean 'opens'"):
        loaded(SMALL + '[engines.small.probe]\nopen = "{"\n')
