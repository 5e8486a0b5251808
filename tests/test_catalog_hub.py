"""A catalog shared through a dataset repository of the Hub, on a stand-in that checks each commit's parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Result
from tests.findings import at
from tests.hub.datasets import DatasetHub
from tests.test_catalog_sharing import STAMP, everything, inspected
from whichgpu.catalog import sharing
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.records import note_finding
from whichgpu.catalog.store import Catalog
from whichgpu.catalog.stores import store_at
from whichgpu.tui.words.exit_codes import ExitCode

Run = Callable[..., Result]
TARGET = "hf://datasets/acme/findings"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[DatasetHub]:
    from huggingface_hub import close_session, constants

    with DatasetHub("acme/findings") as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.endpoint)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", made.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        )
        yield made
        close_session()


def test_a_team_shares_through_a_dataset(hub: DatasetHub, ask: Run, tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    ada, bob = folder / "ada.db", folder / "bob.db"
    Catalog(ada).add(inspected(), note_finding("Qwen/Qwen3-8B", "hi", at(3)))
    Catalog(bob).add(inspected("openai/gpt-oss-20b", at(2, "bob")))
    for person in (ada, bob, ada):
        result = ask("catalog", "sync", TARGET, "--catalog", str(person))
        assert result.code == ExitCode.OK, result.err
    assert everything(ada) == everything(bob)
    assert sum(path.startswith("bundles/") for path in hub.commits[-1]) == 2
    assert "README.md" in hub.commits[-1]
    assert "0 findings in 0 bundles" in ask("catalog", "push", TARGET, "--catalog", str(ada)).out


def test_whose_commit_is_outrun_looks_again(hub: DatasetHub, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("c")
    ada = Catalog(folder / "ada.db")
    ada.add(inspected())
    hub.commits = [{}]
    hub.before_commit = lambda: hub.commit({"bundles/theirs": b"x"})
    sharing.push(ada, store_at(TARGET), TARGET, Policy(), STAMP)
    assert hub.refused == 1
    assert sum(p.startswith("bundles/") for p in hub.commits[-1]) == 2, "both won"


def test_what_the_hub_refuses_is_one_sentence(hub: DatasetHub, ask: Run) -> None:
    assert ask("catalog", "push", "hf://datasets/nonsense").err.startswith("whichgpu: error: “nonsense” is no dataset.")
    hub.forbidden = True
    with pytest.raises(CatalogError, match="cannot be used"):
        store_at(TARGET).names()
