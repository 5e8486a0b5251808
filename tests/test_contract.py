"""What ``--json`` prints is what ``whichgpu schema`` says it prints; exit codes mean one thing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from pydantic import TypeAdapter

from tests.conftest import Result
from tests.render_docs import commands_of
from whichgpu.inspect.errors import MissingExtraError, install_line
from whichgpu.tui.cli.tree import cli
from whichgpu.tui.words.contract import CONTRACTS, schema_of
from whichgpu.tui.words.exit_codes import ExitCode, code_of

Ask = Callable[..., Result]
QWEN = ("Qwen/Qwen3-8B", "--offline")

COMMANDS: dict[str, tuple[str, ...]] = {
    "answer": (*QWEN, "--json"),
    "breakeven": ("breakeven", "--ours", "1", "--theirs", "0.5", "--tokens", "2e10", "--json"),
    "catalog list": ("catalog", "list", "--format", "json"),
    "catalog search": ("catalog", "search", "qwen", "--format", "json"),
    "catalog show": ("catalog", "show", "Qwen/Qwen3-8B", "--json"),
    "catalog status": ("catalog", "status", "--json"),
    "compare": ("compare", "Qwen/Qwen3-8B", "openai/gpt-oss-20b", "--offline", "--json"),
    "cpm": ("cpm", "--usd", "3.92", "--tps", "4000", "--json"),
    "decide": ("decide", "decode-service", "--model", *QWEN, "--json"),
    "fleet": ("fleet", "served.txt", "--offline", "--json"),
    "gpus": ("gpus", "--json"),
    "prices list": ("prices", "list", "h100", "--json"),
    "read-log": ("read-log", "vllm.log", "--json"),
    "silicon": ("silicon", "--json"),
    "silicon --model": ("silicon", "--model", *QWEN, "--json"),
}
LOG = """INFO 11-20 10:00:00 [__init__.py:244] Automatically detected platform cuda.
INFO 11-20 10:00:01 [api_server.py:1395] vLLM API server version 0.10.0
INFO 11-20 10:00:40 [gpu_model_runner.py:1791] Model loading took 15.2683 GiB and 12.1 seconds
INFO 11-20 10:01:10 [kv_cache_utils.py:833] GPU KV cache size: 391,056 tokens
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> Path:
    """A folder with a list of models, a log, and a catalog with a note."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "served.txt").write_text("Qwen/Qwen3-8B\nopenai/gpt-oss-20b\n")
    (tmp_path / "vllm.log").write_text(LOG)
    ask(*QWEN)
    ask("catalog", "note", "Qwen/Qwen3-8B", "ours")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.usefixtures("here")
def test_what_is_printed_is_what_the_type_says(ask: Ask, command: str) -> None:
    result = ask(*COMMANDS[command])
    assert result.out, result.err
    contract = TypeAdapter(CONTRACTS[command])
    record = contract.validate_json(result.out)
    assert contract.dump_python(record, mode="json") == json.loads(result.out), "no field more, none less"


@pytest.mark.parametrize("command", CONTRACTS)
def test_a_schema_is_the_type_s_and_open(ask: Ask, command: str) -> None:
    text = ask("schema", *command.split()).out
    schema = json.loads(text)
    assert schema["$schema"].endswith("2020-12/schema")
    assert schema["type"] in ("object", "array")
    assert '"additionalProperties": false' not in text, "a field may be added"


def test_every_command_with_json_has_a_schema() -> None:
    with_json = set()
    for path in commands_of(cli):
        command: click.Command = cli
        for name in path:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), name)
            assert found is not None
            command = found
        options = {option for parameter in command.params for option in parameter.opts}
        if {"--json", "--format"} & options:
            with_json.add(" ".join(path) or "answer")
    assert with_json == {c.partition(" --")[0] for c in CONTRACTS}


def test_the_schema_of_what_prints_none_is_refused(ask: Ask) -> None:
    assert ask("schema").out.split("\n")[0] == "answer"
    result = ask("schema", "serve")
    assert result.code == ExitCode.USAGE
    assert "prints no JSON" in result.err


def test_a_schema_says_its_version() -> None:
    assert "schema_version" in schema_of("cpm")["$comment"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("compare", "Qwen/Qwen3-8B", "--offline"), ExitCode.USAGE),
        ((*QWEN, "--variant", "Q4"), ExitCode.NOT_FOUND),
        ((*QWEN, "--gpu", "H1000"), ExitCode.NOT_FOUND),
        (("catalog", "tag", "no/such", "served"), ExitCode.NOT_FOUND),
        (("catalog", "note", "no/such", "text"), ExitCode.NOT_FOUND),
        (("catalog", "show", "no/such"), ExitCode.NOT_FOUND),
        (("catalog", "history", "no/such"), ExitCode.NOT_FOUND),
        (("gpus", "no-such-card"), ExitCode.NOT_FOUND),
        (("silicon", "no-such-chip"), ExitCode.NOT_FOUND),
        (("catalog", "search", "zzzz"), ExitCode.NOTHING_FITS),
    ],
)
@pytest.mark.usefixtures("here")
def test_nothing_is_accepted_silently(ask: Ask, arguments: tuple[str, ...], code: ExitCode) -> None:
    result = ask(*arguments)
    assert result.code == code
    assert result.err.startswith("whichgpu:")
    assert result.out == ""


def test_a_short_name_that_is_nearly_a_model_s_is_met_with_it(ask: Ask) -> None:
    result = ask("gpt-oss-120c")
    assert result.code == ExitCode.NOT_FOUND
    assert "Did you mean openai/gpt-oss-120b" in result.err
    assert ask("comand").code == ExitCode.USAGE


@pytest.mark.parametrize(
    "arguments", [("command",), ("decide", "gpu-cloud"), ("breakeven", "--theirs", "9", "--tokens", "1e9")]
)
def test_a_command_takes_its_model_as_it_comes(ask: Ask, arguments: tuple[str, ...]) -> None:
    named = ask(*arguments, "--model", *QWEN)
    assert named.out
    assert ask(*arguments, *QWEN).out == named.out
    assert ask(*arguments, "--offline", "qwen3-8b").out == named.out, "a short name, after an option"
    twice = ask(*arguments, *QWEN, "openai/gpt-oss-20b")
    assert twice.code == ExitCode.USAGE
    assert "unexpected extra argument" in twice.err


def test_a_typo_is_not_kept(ask: Ask, here: Path) -> None:
    ask("catalog", "tag", "no/such", "served")
    assert "no/such" not in ask("catalog", "list").out
    assert ask("catalog", "tag", "openai/gpt-oss-20b", "served").code == ExitCode.OK, "the atlas knows it"


def test_a_missing_extra_is_wrong_usage_whoever_misses_it() -> None:
    from whichgpu.catalog.errors import MissingLibraryError
    from whichgpu.trial.errors import NoReaderError, NoVllmError

    for kind in (MissingExtraError, MissingLibraryError, NoReaderError, NoVllmError):
        error = kind("a library", "serve")
        assert code_of(error) == ExitCode.USAGE
        assert install_line("serve") in error.hint
