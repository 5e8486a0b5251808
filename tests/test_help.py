"""``--help`` is one screen by topic, ``--help-all`` explains every option, and shells complete what only we know."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from tests.conftest import Result
from tests.findings import finding
from tests.render_docs import commands_of
from whichgpu.catalog.query import FIELDS
from whichgpu.catalog.store import Catalog
from whichgpu.tui.asking.helping import TOPICS
from whichgpu.tui.asking.table import ENGINE, SOURCE, WORKLOAD
from whichgpu.tui.cli.tree import cli

Ask = Callable[..., Result]
TOPICAL = ("command", "compare", "decide", "fleet", "breakeven", "trial")


def help_of(*words: str, width: int = 80) -> str:
    result = CliRunner().invoke(cli, list(words), prog_name="whichgpu", terminal_width=width)
    assert result.exit_code == 0, result.output
    return result.output


class TestHelp:
    @pytest.mark.parametrize("words", [("--help",), ("-h",), ("openai/gpt-oss-20b", "--help")])
    def test_is_one_screen_of_60_lines_by_topic(self, words: tuple[str, ...]) -> None:
        text = help_of(*words)
        lines = text.splitlines()
        assert len(lines) <= 60
        assert max(map(len, lines)) <= 80
        assert all(f"{topic.title}:" in lines for topic in TOPICS)

    def test_is_met_by_who_asks_for_it_in_a_word(self) -> None:
        assert help_of("help") == help_of("--help")
        assert help_of("help", "fleet") == help_of("fleet", "--help")
        assert help_of("help", "catalog", "search") == help_of("catalog", "search", "--help")

    @pytest.mark.parametrize("command", TOPICAL)
    def test_of_a_command_has_its_own_options_first(self, command: str) -> None:
        text = help_of(command, "--help")
        assert len(text.splitlines()) <= 64
        if command != "compare":  # which has none
            assert text.index("Options:") < text.index("As whichgpu MODEL takes them") < text.index("--max-num-seqs")

    def test_names_every_option_and_all_explains_it(self) -> None:
        brief, whole = help_of("--help"), help_of("--help-all")
        options = [p for p in cli.params if isinstance(p, click.Option)]
        for option in options:
            name = next(opt for opt in option.opts if opt.startswith("--"))
            assert name in brief
            assert all(opt in whole for opt in option.opts)
            assert option.help is not None
            assert option.help.split()[0] in whole

    def test_every_option_of_a_question_has_one_topic(self) -> None:
        named = [name for topic in TOPICS for name in topic.names]
        assert len(named) == len(set(named))
        assert {row.option.split("/")[0] for row in (*WORKLOAD, *ENGINE, *SOURCE)} <= set(named)
        assert set(named) <= {opt for p in cli.params for opt in p.opts}, "an option that is gone"

    def test_no_name_is_broken_at_its_hyphen(self) -> None:
        for command in ((), *((name,) for name in TOPICAL)):
            for line in help_of(*command, "--help", width=60).splitlines():
                if line.lstrip().startswith(("also ", "--")):
                    assert not line.rstrip().endswith("-")


def completed(words: str, *, shell: str = "bash", cwd: Path | None = None) -> list[str]:
    """What the last of these words is completed to, by a process of its own as the shell starts it."""
    parts = words.split(" ")
    environment = {
        **os.environ,
        "_WHICHGPU_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words if shell != "fish" else " ".join(parts),
        "COMP_CWORD": str(len(parts) - 1) if shell != "fish" else parts[-1],
    }
    code = "import sys; sys.argv[0] = 'whichgpu'; from whichgpu.tui.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=cwd
    )
    assert done.stderr == ""
    return [line.split(",", 1)[-1].split("\t")[0] for line in done.stdout.splitlines() if line]


@pytest.fixture
def _catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.db"
    Catalog(path).add(finding(model="our-team/tuned-8b"))
    monkeypatch.setenv("WHICHGPU_CATALOG", str(path))


@pytest.mark.usefixtures("_catalog")
class TestCompletion:
    def test_models_stand_beside_commands(self) -> None:
        assert completed("whichgpu com") == ["command", "completion", "compare"]
        assert "openai/gpt-oss-120b" in completed("whichgpu openai/gpt-o")
        assert "openai/gpt-oss-120b" in completed("whichgpu GPT-OSS-1"), "without its owner, in any case"
        assert completed("whichgpu our-t") == ["our-team/tuned-8b"], "from the catalog"

    @pytest.mark.parametrize(
        "words",
        ["whichgpu --model our-", "whichgpu -m our-", "whichgpu --json --model our-", "whichgpu trial --model our-",
         "whichgpu command -m our-", "whichgpu compare Qwen/Qwen3-8B our-", "whichgpu app our-",
         "whichgpu catalog show our-", "whichgpu catalog tag our-", "whichgpu catalog diff our-"],
    )  # fmt: skip
    def test_models_wherever_one_is_wanted(self, words: str) -> None:
        assert completed(words) == ["our-team/tuned-8b"]

    def test_the_catalog_of_the_line(self, tmp_path: Path) -> None:
        Catalog(tmp_path / "other.db").add(finding(model="their-team/tuned-9b"))
        assert completed(f"whichgpu --catalog {tmp_path}/other.db --model their-") == ["their-team/tuned-9b"]

    def test_a_broken_catalog_is_no_reason_to_be_silent(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "broken.db").write_bytes(b"no database" * 500)
        monkeypatch.setenv("WHICHGPU_CATALOG", str(tmp_path / "broken.db"))
        assert "openai/gpt-oss-120b" in completed("whichgpu openai/gpt-o")

    @pytest.mark.parametrize(
        "words",
        ["whichgpu openai/gpt-oss-20b --gpu h200", "whichgpu --exclude H200", "whichgpu --price h200",
         "whichgpu fleet models.yaml --gpu h200", "whichgpu prices list h200", "whichgpu gpus h200"],
    )  # fmt: skip
    def test_cards(self, words: str) -> None:
        assert completed(words)[0].startswith("h200")

    def test_columns_and_their_order(self) -> None:
        assert set(completed("whichgpu catalog search ")) == {f"{name}:" for name in FIELDS}
        assert completed("whichgpu catalog search class:moe para") == ["params:"]
        assert completed("whichgpu catalog list --sort p") == ["params", "price"]
        assert completed("whichgpu gpus --sort mem") == ["memory"]

    def test_options_of_an_answer(self) -> None:
        assert completed("whichgpu openai/gpt-oss-20b --max-t") == ["--max-tpot", "--max-ttft"]
        assert completed("whichgpu openai/gpt-oss-20b --objective f") == ["fewest"]

    @pytest.mark.parametrize(
        "words", ["whichgpu no-such-thing x", "whichgpu openai/gpt-oss-20b other/mod", "whichgpu --gpu"]
    )
    def test_nonsense_is_met_with_silence(self, words: str) -> None:
        completed(words)

    def test_a_path_is_left_to_the_shell(self) -> None:
        assert completed("whichgpu ./my") == ["./my"]

    def test_a_shell_is_to_be_named(self, ask: Ask) -> None:
        result = ask("completion")
        assert result.code == 2
        assert "Choose from: bash, zsh, fish" in result.err

    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_of_a_shell_asks_us(self, shell: str) -> None:
        script = help_of("completion", shell)
        assert f"_WHICHGPU_COMPLETE={shell}_complete" in script
        if (program := shutil.which(shell)) is not None:
            subprocess.run([program, "-n"], input=script, text=True, check=True, capture_output=True)

    @pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
    def test_bash_completes_with_it(self, tmp_path: Path) -> None:
        program = tmp_path / "whichgpu"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m whichgpu "$@"\n')
        program.chmod(0o755)
        (tmp_path / "script").write_text(help_of("completion", "bash"))
        line = (
            f"PATH={tmp_path}:$PATH; . {tmp_path}/script; COMP_WORDS=(whichgpu our-t); COMP_CWORD=1;"
            " _whichgpu_completion whichgpu our-t whichgpu; echo ${COMPREPLY[*]}"
        )
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "our-team/tuned-8b", done.stderr


def test_what_is_completed_is_offered_by_commands_that_exist() -> None:
    for words in commands_of(cli):
        context = click.Context(cli)
        command: click.Command | None = cli
        for word in words:
            assert isinstance(command, click.Group)
            command = command.get_command(context, word)
        assert command is not None
    assert ShellComplete(cli, {}, "whichgpu", "_WHICHGPU_COMPLETE").get_completions([], "gpu")
