"""Every whichgpu command that a document prints is one, and those that need nothing but us are run as printed."""

from __future__ import annotations

import html
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tests.conftest import Result
from tests.hub import shapes
from tests.test_docs import PAGES, ROOT
from whichgpu.tui.cli.tree import cli
from whichgpu.tui.words.exit_codes import ExitCode

Ask = Callable[..., Result]
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ELSEWHERE = {
    "": "the app",
    "app": "the app",
    "serve": "the app, in a browser",
    "trial": "vLLM",
    "read-log": "a log",
    "prices refresh": "the network",
    "catalog sync": "a bucket",
    "catalog push": "a bucket",
    "catalog pull": "a bucket",
    "catalog watch": "a bucket, for ever",
    "catalog serve": "a browser",
    "catalog import": "a bundle",
    "catalog export": "another tool",
    "catalog merge": "another catalog",
    "catalog verify": "a key",
    "atlas build": "the Hub",
}
"""What is only read, not run, by how it begins, and what it needs."""
_WITH_HARDWARE = ("--gpu here", "--second-opinion", "--solver")


def commands_in(path: Path) -> list[str]:
    """The commands of a page's blocks, without what a shell does with them."""
    lines = [line for block in _BLOCK.findall(path.read_text()) for line in block.replace("\\\n", " ").splitlines()]
    printed = [re.split(r"\s#\s", line)[0].strip() for line in lines]
    return [line for line in printed if re.match(r"whichgpu(\s|$)", line)]


_INLINE = re.compile(r"`(whichgpu [^`]+)`")


def inline_commands_in(path: Path) -> list[str]:
    """The commands of a page's sentences; what they are given may be left to the reader."""
    return _INLINE.findall(" ".join(_BLOCK.sub("", path.read_text()).split()))


def words_of(command: str) -> list[str]:
    """Its words, up to a pipe or a redirection."""
    words = shlex.split(command)[1:]
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&", "…")]
    return words[: min(ends, default=len(words))]


ALL = sorted({(path.name, command) for path in PAGES for command in commands_in(path)})


def test_every_page_for_newcomers_has_commands() -> None:
    assert {"README.md", "install.md", "faq.md", "sureness.md", "trial.md", "sharing.md"} <= {name for name, _ in ALL}


@pytest.mark.parametrize(("page", "command"), ALL)
def test_a_printed_command_is_one(page: str, command: str) -> None:
    words = words_of(command)
    context = cli.make_context("whichgpu", list(words))
    while isinstance(context.command, click.Group) and (rest := [*context._protected_args, *context.args]):
        name, found, rest = context.command.resolve_command(context, rest)
        assert found is not None, f"{page}: {command}"
        context = found.make_context(name, rest, parent=context)


@pytest.mark.parametrize("path", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_commands_and_options_named_in_sentences_exist(path: Path) -> None:
    for line in inline_commands_in(path):
        found: click.Command = cli
        for word in re.findall(r"[^\s|]+", line)[1:]:
            context = click.Context(found)
            if isinstance(found, click.Group) and (under := found.get_command(context, word)) is not None:
                found = under
            elif word.startswith("-") and word != "-":
                options = {opt for param in found.get_params(context) for opt in (*param.opts, *param.secondary_opts)}
                assert word.split("=")[0] in options, line


def is_run(command: str) -> bool:
    line = " ".join(words_of(command))
    begins = any(line == start or (start and f"{line} ".startswith(f"{start} ")) for start in _ELSEWHERE)
    return not begins and not any(need in line for need in _WITH_HARDWARE)


@pytest.mark.parametrize("command", sorted({c for path in PAGES for c in commands_in(path) if is_run(c)}))
def test_a_printed_command_runs(ask: Ask, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, with a team's list of models, a fine-tune and a model that was looked at before."""
    from huggingface_hub import (
        constants,
    )  # reads the variable when it is imported, and would keep it for every later test

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-finetune").mkdir()
    (tmp_path / "my-finetune" / "config.json").write_text(json.dumps(shapes.QWEN3_06B))
    (tmp_path / "models.yaml").write_text("- Qwen/Qwen3-8B\n- openai/gpt-oss-20b\n")
    if command.startswith("whichgpu catalog"):
        ask("openai/gpt-oss-120b", "--gpu", "h200")
        ask("Qwen/Qwen3-32B", "--gpu", "h200")
    result = ask(*words_of(command))
    assert result.code in (ExitCode.OK, ExitCode.NOTHING_FITS), result.err
    assert "Traceback" not in result.err


def test_the_picture_in_the_readme_is_todays_answer() -> None:
    """``python -m benchmarks.picture`` draws it anew."""
    svg = (ROOT / "docs" / "answer.svg").read_text()
    shown = " ".join(html.unescape(part) for part in re.findall(r"<text[^>]*>([^<]*)</text>", svg)).split()
    answer = (ROOT / "tests" / "golden" / "gpt-oss-120b.txt").read_text().split()
    assert shown == ["whichgpu", "$", "whichgpu", "openai/gpt-oss-120b", *answer]


_FIGURES = {
    "accuracy.md": (r"\| KV pool: median error +\| [^|]*\| [^|]*\| (\S+) +\| (\S+) +\|", ("README.md", "sureness.md")),
    "starts.md": (r"\| held out, 0\.33 +\| +\d+ \| +(\d+) \|(?: +\d+ \|){2} +(\d+) \| +(\d+) \| +(\d+) \|", ("README.md", "sureness.md")),
    "speed.md": (r"median error (\S+) %, within 25 %: (\S+) %;", ("README.md", "sureness.md")),
    "inspection.md": (r"classes: \S+ \((\S+)%\)\nparameters within 0\.5 %: \S+ \((\S+)%\)", ("README.md", "sureness.md")),
}  # fmt: skip


@pytest.mark.parametrize("page", _FIGURES)
def test_figures_told_to_newcomers_are_those_of_the_pages(page: str) -> None:
    pattern, tellers = _FIGURES[page]
    match = re.search(pattern, (ROOT / "docs" / page).read_text())
    assert match is not None, "the page has another form: say here where its figures are"
    for teller in tellers:
        path = ROOT / teller if teller == "README.md" else ROOT / "docs" / teller
        rows = [
            line.replace(",", "") for line in path.read_text().splitlines() if page in line and line.startswith("|")
        ]
        for figure in match.groups():
            assert any(re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", row) for row in rows), (teller, figure)


def test_figures_say_whether_they_are_held_out() -> None:
    table = (ROOT / "README.md").read_text().split("## How right it is")[1].split("\n\n")[2]
    for row in table.splitlines()[2:]:
        assert re.search(r"held out|left out of the fit|partly fitted|seen while", row), row
