"""The command line as a user and a script see it: text, JSON, exit codes, terminals that can do little."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conftest import Result
from tests.hub import Fault, HubStandIn, shapes
from whichgpu.tui.cli.tree import cli
from whichgpu.tui.words.exit_codes import MEANINGS, ExitCode

Ask = Callable[..., Result]
Start = Callable[..., HubStandIn]
GOLDEN = Path(__file__).parent / "golden"
MODELS = {
    "gpt-oss-120b": ("openai/gpt-oss-120b",),
    "deepseek-v4-flash": ("deepseek-ai/DeepSeek-V4-Flash", "--gpu", "h100", "--gpu", "h200", "--concurrency", "64"),
    "qwen3.5-hybrid": ("Qwen/Qwen3.5-122B-A10B", "--precision", "fp8", "--context", "32768"),
    "flux": ("black-forest-labs/FLUX.1-dev",),
    "minilm": ("sentence-transformers/all-MiniLM-L6-v2",),
    "nothing-fits": ("moonshotai/Kimi-K3", "--gpu", "l4", "--gpu", "t4"),
    "explain": ("meta-llama/Llama-3.1-8B-Instruct", "--gpu", "h100", "--vllm", "0.19", "--explain"),
    "tight": ("openai/gpt-oss-120b", "--gpu", "gh200", "--concurrency", "64", "--max-num-seqs", "768", "--explain"),
    "rate": ("openai/gpt-oss-120b", "--rate", "60"),
}


@pytest.mark.parametrize("name", MODELS)
def test_text_is_as_reviewed(ask: Ask, name: str) -> None:
    """To accept a change: WHICHGPU_TEST_UPDATE=1 pytest, then read the difference."""
    model, *options = MODELS[name]
    result = ask("--model", model, "--offline", *options)
    path = GOLDEN / f"{name}.txt"
    if UPDATE:
        path.write_text(result.out)
    assert result.out == path.read_text()
    assert result.code == (ExitCode.NOTHING_FITS if name in ("nothing-fits", "tight") else ExitCode.OK)


UPDATE = os.environ.get("WHICHGPU_TEST_UPDATE") == "1"


@pytest.mark.parametrize("name", MODELS)
def test_text_fits_80_columns_but_for_what_is_to_be_copied(name: str) -> None:
    for line in (GOLDEN / f"{name}.txt").read_text().splitlines():
        assert len(line) <= 80 or line.startswith("  vllm serve "), line


@pytest.mark.parametrize("name", MODELS)
def test_a_pipe_gets_neither_colour_nor_boxes(name: str) -> None:
    text = (GOLDEN / f"{name}.txt").read_text()
    assert "\x1b" not in text
    assert not re.search(r"[\u2500-\u257f\u2580-\u259f]", text)


def test_json_is_one_stable_document(ask: Ask) -> None:
    first = ask("--model", "openai/gpt-oss-20b", "--offline", "--json")
    second = ask("--model", "openai/gpt-oss-20b", "--offline", "--json", "--catalog", "/dev/null/x")
    reply = json.loads(first.out)
    assert list(reply) == ["schema_version", "whichgpu", "origin", "origin_note", "warnings", "inspection", "answer"]
    assert reply["schema_version"] == reply["inspection"]["schema_version"] == 3
    assert reply["answer"] == json.loads(second.out)["answer"]
    assert first.out.isascii()


def test_json_reads_back_into_the_records(ask: Ask) -> None:
    from whichgpu.inspect.records import Inspection
    from whichgpu.plan.records import Answer

    reply = json.loads(ask("--model", "openai/gpt-oss-20b", "--offline", "--json").out)
    assert Inspection.model_validate(reply["inspection"]).source.name == "openai/gpt-oss-20b"
    assert Answer.model_validate(reply["answer"]).recommended is not None


def test_quiet_says_one_line(ask: Ask) -> None:
    result = ask("--model", "openai/gpt-oss-20b", "--offline", "--quiet", "--gpu", "h100")
    assert re.fullmatch(r"1 × H100 SXM5, \$\d+\.\d\d/h\n", result.out)
    assert result.err == ""


@pytest.mark.parametrize("place", [0, 2, 3, 4])
def test_a_model_stands_where_a_command_would(ask: Ask, place: int) -> None:
    options = ["--gpu", "h100", "--offline", "--quiet"]
    if place:
        options.insert(place, "https://huggingface.co/openai/gpt-oss-20b")
    else:
        options.insert(0, "openai/gpt-oss-20b")
    assert ask(*options).out == ask("--model", "openai/gpt-oss-20b", "--offline", "--quiet", "--gpu", "h100").out


def test_a_folder_is_a_model_and_a_command_before_it(ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("tuned", "gpus"):
        (tmp_path / name).mkdir()
    assert "tuned" in ask("tuned").err, "an empty folder is read, and said to be empty"
    assert ask("gpus").code == 0


def test_what_is_neither_command_nor_model_says_what_it_could_be(ask: Ask) -> None:
    assert "Did you mean compare?" in ask("compar").err
    assert "compare sets several side by side" in ask("openai/gpt-oss-20b", "openai/gpt-oss-120b").err


def test_copies_are_spelled_and_priced_alike_everywhere(ask: Ask) -> None:
    """All replicas, in the line for scripts, the report, the other tools' files, the catalog and its list."""
    words = ("--model", "openai/gpt-oss-120b", "--offline", "--gpu", "h100", "--rate", "60")
    line = ask(*words, "--quiet").out.strip()
    match = re.fullmatch(r"(\d+) replicas of (\d) × H100 SXM5, (\$[\d,.]+/h)", line)
    assert match, line
    copies, cards, total = int(match[1]), int(match[2]), match[3]
    assert copies > 1
    spelled, price = line.rsplit(", ", 1)
    said = " ".join(ask(*words).out.split())
    assert f"{spelled} {price}" in said
    assert line in ask("command", *words).err
    assert line in ask("catalog", "show", "openai/gpt-oss-120b").out
    listed = ask("catalog", "list").out
    assert f" {copies * cards} × " in listed
    assert total.removesuffix("/h") in listed
    side_by_side = ask("compare", "openai/gpt-oss-120b", "openai/gpt-oss-20b", *words[2:]).out
    assert f"{copies} replicas of {cards} × H100 SXM" in side_by_side
    assert total.removesuffix("/h") in side_by_side


@pytest.mark.parametrize(
    "model", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2-VL-7B-Instruct", "microsoft/Phi-3-mini-4k-instruct"]
)
def test_a_class_that_generates_is_served_generating(ask: Ask, model: str) -> None:
    """Its class stands in vLLM's table of pooling models too; nothing of the repository says that it embeds."""
    plan = json.loads(ask("--model", model, "--offline", "--json", "--gpu", "h100").out)["answer"]["recommended"]
    assert "--runner" not in plan["command"]
    assert "--max-model-len" in plan["command"]
    assert plan["speed"] is not None


@pytest.mark.parametrize("says", ["modules.json", "1_Pooling", "pipeline_tag", "is_causal"])
def test_what_says_that_it_embeds_is_served_pooling(ask: Ask, start_hub: Start, says: str) -> None:
    repo = shapes.qwen3_06b(extra_info={"pipeline_tag": "sentence-similarity"} if says == "pipeline_tag" else {})
    config = {**shapes.QWEN3_06B, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
    config |= {"is_causal": False} if says == "is_causal" else {}
    repo.files["config.json"] = json.dumps(config).encode()
    more = {"modules.json": ("modules.json", b"[]"), "1_Pooling": ("1_Pooling/config.json", b"{}")}
    repo.files |= dict([more[says]]) if says in more else {}
    start_hub({"acme/embeds": repo})
    plan = json.loads(ask("--model", "acme/embeds", "--json", "--gpu", "h100").out)["answer"]["recommended"]
    assert plan["command"].endswith("--runner pooling")
    assert plan["speed"] is None


def test_the_asked_context_is_cut_to_the_models(ask: Ask) -> None:
    reply = json.loads(ask("--model", "Qwen/Qwen3-32B", "--offline", "--json", "--context", "1000000").out)
    assert reply["answer"]["workload"]["context"] == 40_960


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model",),
        ("--nonsense",),
        ("--model", "a/b", "--context", "0"),
        ("--model", "a/b", "--context", "many"),
        ("--model", "a/b", "--precision", "fp7"),
        ("--model", "a/b/c"),
        ("--model", "openai/gpt-oss-20b", "--offline", "--gpu", "H100:zz"),
        ("no-such-command",),
        ("--json",),
    ],
)
def test_wrong_usage_is_exit_2_with_one_line(ask: Ask, arguments: tuple[str, ...]) -> None:
    result = ask(*arguments)
    assert result.code == 2
    assert "Traceback" not in result.err


def test_offline_and_unknown_is_a_network_failure_with_a_suggestion(ask: Ask) -> None:
    result = ask("--model", "Qwen/Qwen3-32BB", "--offline")
    assert result.code == 3
    assert "Qwen/Qwen3-32B" in result.err


def test_help_lists_every_exit_code() -> None:
    text = CliRunner().invoke(cli, ["--help-all"]).output
    for code, meaning in MEANINGS.items():
        assert re.search(rf"{int(code)}  {re.escape(meaning)}", text)
    assert len(MEANINGS) == len(ExitCode)


def test_without_arguments_it_helps(ask_fresh: Ask) -> None:
    result = ask_fresh()
    assert result.code == 0
    assert "Usage: whichgpu" in result.out
    assert "--model Qwen/Qwen3-32B" in result.err


def test_ascii_when_the_locale_is_not_utf8(ask_fresh: Ask) -> None:
    result = ask_fresh(
        "--model", "openai/gpt-oss-120b", "--offline", "--explain", PYTHONIOENCODING="ascii", PYTHONUTF8="0"
    )
    assert result.code == 0
    assert result.out.isascii()
    assert "36 x 128 experts" in result.out


def test_debug_shows_the_traceback(ask_fresh: Ask) -> None:
    result = ask_fresh("--model", "a/b/c", WHICHGPU_DEBUG="1")
    assert "Traceback" in result.err


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m whichgpu --model openai/gpt-oss-120b --offline --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr.replace("whichgpu: note: ", "").count("Error") == 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("redirect", [">/dev/full", "--json >/dev/full", "-q >/dev/full"])
def test_a_full_disk_is_one_sentence_and_7(redirect: str) -> None:
    command = f"{sys.executable} -m whichgpu --model openai/gpt-oss-120b --offline {redirect}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.SYSTEM
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-"])
def test_closed_streams_change_nothing_but_the_text(closed: str, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.db"
    arguments = f"--model openai/gpt-oss-120b --offline --catalog {catalog} {closed}"
    done = subprocess.run(f"{sys.executable} -m whichgpu {arguments}", shell=True, capture_output=True, check=False)
    assert done.returncode == ExitCode.OK
    assert catalog.read_bytes().startswith(b"SQLite format 3")


def test_a_defect_is_one_sentence_and_70(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a\x1b[31m layer")

    monkeypatch.setattr("whichgpu.tui.cli.answer.reply_to", broken)
    result = ask("--model", "a/b")
    assert result.code == ExitCode.BUG
    assert "ZeroDivisionError" in result.err
    assert "WHICHGPU_DEBUG=1" in result.err
    assert "\x1b" not in result.err


_INTERRUPTIBLE = """
import signal
from whichgpu.tui.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
"""A test run in the background of a shell script inherits SIGINT ignored."""


def test_interrupted_is_130_at_once_and_says_so(start_hub: Start) -> None:
    hub = start_hub({"a/b": shapes.qwen3_06b()})
    hub.faults.append(Fault("stall", seconds=60))
    process = subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTIBLE, "--model", "a/b"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not hub.seen:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (out, err) == ("", "\nwhichgpu: interrupted\n")


class TestOnATerminal:
    """A real pseudo-terminal: colour, progress, and their absence."""

    def run(self, *arguments: str, **environment: str) -> str:
        import pty

        primary, secondary = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "whichgpu", *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            env={**os.environ, "TERM": "xterm-256color", **environment},
        )
        os.close(secondary)
        chunks = []
        while True:
            try:
                chunk = os.read(primary, 65536)
            except OSError:
                break
            if not chunk:
                break
            chunks.append(chunk)
        process.wait(timeout=60)
        os.close(primary)
        return b"".join(chunks).decode()

    def test_colour_and_progress(self, start_hub: Start) -> None:
        start_hub({"meta/L8": shapes.llama_8b(offers_metadata=False)})
        text = self.run("--model", "meta/L8")
        assert "\x1b[1m" in text
        assert "reading headers 4/4" in text

    @pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
    def test_no_colour(self, start_hub: Start, environment: dict[str, str]) -> None:
        start_hub({"a/b": shapes.qwen3_06b()})
        text = self.run("--model", "a/b", **environment)
        assert not re.search(r"\x1b\[[0-9;]*m", text)
        assert "RENT" in text


@pytest.mark.parametrize("option", ["--rate", "--max-tpot", "--max-price", "--busy"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_is_no_number_is_wrong_usage(ask: Callable[..., Result], option: str, value: str) -> None:
    assert ask("-m", "Qwen/Qwen3-8B", "--offline", option, value).code == ExitCode.USAGE


class TestNames:
    """What a stranger types first."""

    def test_a_name_without_its_owner_is_taken_for_the_one_that_is_called_so(self, ask: Ask) -> None:
        for words in (("qwen3-32b",), ("--model", "Qwen3-32B")):
            assert ask(*words, "--offline").out.startswith("Qwen/Qwen3-32B "), words

    def test_several_of_a_name_are_named(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("whichgpu.tui.desk.names.named_alike", lambda _: ["a/one", "b/one"])
        result = ask("--model", "one", "--offline")
        assert (result.code, "a/one, b/one" in result.err) == (2, True)

    def test_a_group_alone_prints_its_help(self, ask: Ask) -> None:
        for group in ("catalog", "prices", "atlas"):
            result = ask(group)
            assert result.code == 0
            assert f"Usage: whichgpu {group}" in result.out
            assert "\ufffd" not in result.out + result.err

    def test_a_card_of_no_vendor_and_a_vendor_alone(self, ask: Ask) -> None:
        answer = json.loads(ask("openai/gpt-oss-20b", "--offline", "--vendor", "amd", "--json").out)["answer"]
        assert {p["vendor"] for p in answer["plans"]} == {"amd"}
        assert (
            "No accelerator is left" in ask("openai/gpt-oss-20b", "--offline", "--gpu", "H100", "--vendor", "amd").err
        )

    def test_a_million_tokens_without_a_model(self, ask: Ask) -> None:
        said = ask("cpm", "--usd", "3.92", "--tps", "4000", "--watts", "700").out
        assert said.startswith("$0.27 per million tokens: $3.92 an hour for 14.40 million tokens an hour")
        assert "5.71 tokens/s per watt, 0.05 kWh per million tokens" in said
        assert json.loads(ask("cpm", "--usd", "1", "--tps", "100", "--busy", "0.5", "--json").out)[
            "usd_per_million"
        ] == pytest.approx(5.5556, rel=1e-4)
