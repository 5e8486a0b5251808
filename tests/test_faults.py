"""What goes wrong on real networks, and with real repositories: one sentence, the right exit code, nothing broken."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from tests.conftest import Result
from tests.hub import Fault, HubStandIn, Repo, Sparse, header_of, safetensors_file, shapes
from whichgpu.inspect.sources import hub_http

Ask = Callable[..., Result]
Start = Callable[..., HubStandIn]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries in no time, and time-outs of half a second."""
    import httpx2

    monkeypatch.setattr(hub_http, "_TIMEOUT", httpx2.Timeout(0.5))
    monkeypatch.setattr(hub_http, "RETRY_WAIT_SECONDS", 0.01)


def check(result: Result, code: int, *words: str) -> None:
    """One clear line on stderr, the code, no traceback, nothing on stdout."""
    errors = [line for line in result.err.splitlines() if line.startswith("whichgpu: error: ")]
    assert (result.code, len(errors), result.out) == (code, 1, ""), result
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err
    for word in words:
        assert word in errors[0]


def single(**options: object) -> Repo:
    return shapes.qwen3_06b(**options)


def broken(content: Sparse) -> Repo:
    return Repo({"config.json": json.dumps(shapes.QWEN3_06B).encode(), "model.safetensors": content})


class TestAccess:
    def test_missing_repository_answers_401_without_a_token(self, start_hub: Start, ask: Ask) -> None:
        start_hub({})
        check(ask("--model", "no/where"), 4, "No such repository", "HF_TOKEN")
        check(ask("--model", "Qwen/Qwen3-33B"), 4, "Did you mean Qwen/Qwen3-32B")

    def test_missing_repository_answers_404_with_a_token(
        self, start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_ok")
        start_hub({}, token="hf_ok")
        check(ask("--model", "no/where"), 4, "No such repository")

    def test_private_repository(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"p/m": single(private=True)})
        check(ask("--model", "p/m"), 4, "private")

    def test_gated_repository(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"g/m": single(gated=True)})
        check(ask("--model", "g/m"), 5, "gated", "Accept its terms")

    def test_wrong_token(self, start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        start_hub({"p/m": single()}, token="hf_right")
        result = ask("--model", "p/m")
        check(result, 5, "token is not accepted")
        assert "hf_wrong" not in result.err

    def test_missing_revision(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"a/b": single()})
        check(ask("--model", "a/b@v9"), 4, "no such revision")


class TestTransient:
    """Retried, with a limit."""

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("status", times=1, status=500),
            Fault("status", times=2, status=503),
            Fault("status", times=1, status=429, headers={"Retry-After": "0"}),
            Fault("reset", times=1),
            Fault("stall", times=1, seconds=1.0),
            Fault("truncate", where="config.json", times=1),
            Fault("truncate", where="model.safetensors", times=1),
            Fault("reset", where="model.safetensors", times=1),
        ],
        ids=lambda f: f"{f.kind}-{f.status}-{f.where}",
    )
    def test_one_hiccup_is_survived(self, start_hub: Start, ask: Ask, fault: Fault) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(fault)
        result = ask("--model", "a/b", "--json")
        assert result.code == 0, result.err
        assert json.loads(result.out)["inspection"]["grade"] == "tensor headers"

    @pytest.mark.parametrize("fault", [Fault("status", status=500), Fault("reset"), Fault("status", status=502)])
    def test_what_stays_broken_ends(self, start_hub: Start, ask: Ask, fault: Fault) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(fault)
        check(ask("--model", "a/b"), 3)
        assert len(hub.seen) <= 5

    def test_a_long_retry_after_is_told_not_waited_for(self, start_hub: Start, ask: Ask) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(Fault("status", status=429, headers={"Retry-After": "3600"}))
        begun = time.monotonic()
        check(ask("--model", "a/b"), 3, "3600 seconds", "HF_TOKEN")
        assert len(hub.seen) == 1
        assert time.monotonic() - begun < 300

    def test_a_long_rate_limit_is_told_not_waited_for(self, start_hub: Start, ask: Ask) -> None:
        """The Hub's own header: https://huggingface.co/docs/hub/rate-limits."""
        hub = start_hub({"a/b": single()})
        limit = {"ratelimit": '"api";r=0;t=189', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}
        hub.faults.append(Fault("status", status=429, headers=limit))
        check(ask("--model", "a/b"), 3, "189 seconds", "HF_TOKEN")
        assert len(hub.seen) == 1

    @pytest.mark.parametrize("where", ["/api/", "config.json"])
    def test_a_body_that_never_ends_is_given_up(
        self, start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        monkeypatch.setattr(hub_http, "DEADLINE_SECONDS", 0.2)
        hub = start_hub({"a/b": single()})
        hub.faults.append(Fault("trickle", where=where, seconds=0.05))
        check(ask("--model", "a/b"), 3, "too slowly")

    def test_an_unreachable_hub_is_not_retried(
        self, start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
        check(ask("--model", "a/b"), 3, "cannot be reached", "nor the bundled atlas knows a/b")

    def test_an_endpoint_that_is_no_address(self, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", "not an address")
        check(ask("--model", "a/b"), 3)


class TestMirrors:
    def test_ignored_range_stops_after_the_header(self, start_hub: Start, ask: Ask) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(Fault("ignore_range", where="model.safetensors"))
        assert ask("--model", "a/b").code == 0
        assert hub.bytes_sent < 8_000_000, "socket buffers, not the 1.2 GB file"

    def test_listing_without_sizes(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"a/b": single(unsized=True)})
        result = ask("--model", "a/b", "--json")
        assert json.loads(result.out)["inspection"]["parameters"]["total"]["value"] == 596_049_920

    @pytest.mark.parametrize("where", ["/api/", "config.json", "model.safetensors"])
    def test_captive_portal(self, start_hub: Start, ask: Ask, where: str) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(Fault("html", where=where))
        result = ask("--model", "a/b")
        assert result.code in (3, 6)
        check(result, result.code)

    @pytest.mark.parametrize("where", ["/api/", "config.json", "model.safetensors"])
    def test_what_was_asked_for_plain_is_never_unpacked(self, start_hub: Start, ask: Ask, where: str) -> None:
        hub = start_hub({"a/b": single()})
        hub.faults.append(Fault("gzip", where=where))
        check(ask("--model", "a/b"), 3, "compresses in a way that was not asked for")

    def test_a_bomb_behind_the_one_request_endpoint_falls_back(
        self, start_hub: Start, ask: Ask, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("whichgpu.inspect.sources.hub._ALL_HEADERS_LIMIT", 1 << 20)
        hub = start_hub({"meta/L8": shapes.llama_8b()})
        hub.faults.append(Fault("gzip", where="safetensors-metadata"))
        result = ask("--model", "meta/L8", "--json")
        assert json.loads(result.out)["inspection"]["grade"] == "tensor headers"

    def test_an_id_that_climbs_is_not_taken_over(self, start_hub: Start, ask: Ask) -> None:
        repo = single()
        repo.extra_info = {"id": "../../evil\x1b[31m"}
        start_hub({"a/b": repo})
        result = ask("--model", "a/b", "--json")
        assert json.loads(result.out)["inspection"]["source"]["name"] == "a/b"
        assert "evil" not in result.out + result.err

    def test_a_sharded_model_behind_a_portal_on_the_endpoint_alone(self, start_hub: Start, ask: Ask) -> None:
        hub = start_hub({"meta/L8": shapes.llama_8b()})
        hub.faults.append(Fault("html", where="safetensors-metadata"))
        result = ask("--model", "meta/L8", "--json")
        assert json.loads(result.out)["inspection"]["grade"] == "tensor headers"


class TestDamagedFiles:
    @pytest.mark.parametrize(
        ("content", "word"),
        [
            (Sparse((2**63).to_bytes(8, "little"), 1000), "header"),
            (Sparse(b"\x10\0\0\0\0\0\0\0" + b"not json at all!", 1000), "not JSON"),
            (Sparse(b"", 1000), "not JSON"),
            (Sparse(b"", 0), "empty"),
            (Sparse(header_of({"a": ("BF16", (9, 9))})[0], 100), "truncated"),
        ],
        ids=["absurd-length", "not-json", "zeros", "empty", "short-data"],
    )
    def test_damaged_weights(self, start_hub: Start, ask: Ask, content: Sparse, word: str) -> None:
        start_hub({"a/b": broken(content)})
        check(ask("--model", "a/b"), 6, word)

    @pytest.mark.parametrize(
        "config",
        [
            b"",
            b"[]",
            b'"text"',
            b"{",
            b"\xff\xfe",
            b"[" * 200_000,
            b'{"a":' * 100_000,
            b" " * (17 * 2**20),
            json.dumps({"hidden_size": 8, "num_hidden_layers": 10**9}).encode(),
        ],
        ids=["empty", "list", "string", "cut", "binary", "deep-list", "deep-object", "huge", "a-billion-layers"],
    )
    def test_damaged_configs(self, start_hub: Start, ask: Ask, config: bytes) -> None:
        start_hub({"a/b": Repo({"config.json": config, "model.safetensors": single().files["model.safetensors"]})})
        check(ask("--model", "a/b"), 6, "config.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"hidden_size": "4096"},
            {"hidden_size": float("inf")},
            {"hidden_size": -1},
            {"hidden_size": [1024]},
            {"num_attention_heads": 0},
            {"num_attention_heads": float("nan")},
            {"vocab_size": 1e300},
            {"vocab_size": {}},
            {"quantization_config": "fp8"},
            {"quantization_config": {"quant_method": 7, "bits": "four"}},
            {"text_config": {"text_config": {"text_config": {}}}},
            {"layer_types": [1, None, {}]},
            {"layer_types": ["full_attention"] * 5000},
            {"sliding_window": -5},
            {"rope_scaling": {"rope_type": "yarn", "factor": 1e308, "original_max_position_embeddings": 2**39}},
            {"architectures": "NotAList"},
            {"architectures": [None, 3]},
            {"torch_dtype": ["bfloat16"]},
            {"num_experts": 10**12, "num_experts_per_tok": 8},
            {"vision_config": {"hidden_size": 0, "num_hidden_layers": -3}},
            {"block_configs": [None] * 28},
            {"model_type": "\x1b]0;owned\x07"},
        ],
        ids=lambda c: json.dumps(c)[:40],
    )
    def test_odd_configs_never_crash(self, start_hub: Start, ask: Ask, change: dict[str, object]) -> None:
        config = json.dumps(shapes.QWEN3_06B | change).encode()
        start_hub({"a/b": Repo({"config.json": config})})
        for extra in ((), ("--json",)):
            result = ask("--model", "a/b", *extra)
            assert result.code in (0, 1, 6), result.err
            assert "Traceback" not in result.err
            assert "\x1b" not in result.out + result.err

    def test_nothing_at_all(self, start_hub: Start, ask: Ask) -> None:
        start_hub({"a/b": Repo({"README.md": b"hello"})})
        check(ask("--model", "a/b"), 6, "no weights and no config")

    def test_hostile_file_names(self, start_hub: Start, ask: Ask) -> None:
        files: dict[str, bytes | Sparse] = {
            "config.json": json.dumps(shapes.QWEN3_06B).encode(),
            "\x1b[2Jevil-\u202e.safetensors": safetensors_file({"a\x1b[0m": ("BF16", (2, 2))}),
        }
        start_hub({"a/b": Repo(files)})
        for extra in ((), ("--json",)):
            result = ask("--model", "a/b", *extra)
            assert "\x1b" not in result.out + result.err
            assert "\u202e" not in result.out + result.err
