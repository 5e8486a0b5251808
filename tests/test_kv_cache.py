"""KV cache and state, against the groups, blocks and lines that vLLM itself makes of real configs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.planning import GIB, ask, footprint, model, pool_of
from whichgpu.inspect.mixer_kinds import CacheForm, MixerKind
from whichgpu.inspect.records import Mixer
from whichgpu.plan.kv_layers import CacheLayer, CacheSetting, _layers, is_counted
from whichgpu.plan.kv_pool import Grouping, Pool, Schedule, grouped
from whichgpu.plan.records import KvDtype

# (model, TP, length, bytes per block, blocks that one sequence holds in each group) from vLLM 0.32's own
# get_kv_cache_spec and get_kv_cache_groups with max_num_batched_tokens 8,192, Hopper.
GEOMETRY = [
    ("mistralai/Mamba-Codestral-7B-v0.1", 1, 2_048, 138_149_888, [1]),
    ("deepseek-ai/DeepSeek-V3.2", 8, 163_840, 5_012_736, [2560]),
    ("deepseek-ai/DeepSeek-V3", 8, 163_840, 1_124_352, [10_240]),
    ("deepseek-ai/DeepSeek-V4-Flash", 4, 1_048_576, 1_002_240, [259, 259, 2065, 4096, 4099]),
    ("deepseek-ai/DeepSeek-V4-Pro", 8, 1_048_576, 1_435_968, [259, 259, 2065, 4096, 4099]),
    ("google/gemma-3-27b-it", 1, 131_072, 1_310_720, [1089, 1089, 1089, 1089, 1089, 1089, 8192]),
    ("google/gemma-3-27b-it", 4, 131_072, 327_680, [1089, 1089, 1089, 1089, 1089, 1089, 8192]),
    ("google/gemma-4-26B-A4B", 1, 262_144, 655_360, [1089, 1089, 1089, 1089, 1089, 8192]),
    ("zai-org/GLM-5.2-FP8", 8, 1_048_576, 5_928_192, [16_384]),
    ("zai-org/GLM-5-FP8", 8, 202_752, 6_409_728, [3168]),
    ("openai/gpt-oss-120b", 1, 131_072, 589_824, [1033, 8192]),
    ("openai/gpt-oss-20b", 1, 131_072, 393_216, [1033, 8192]),
    ("moonshotai/Kimi-K3", 8, 1_048_576, 21_233_664, [3, 3, 3, 1366]),
    ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 4, 1_048_576, 4_128_768, [2, 2, 2, 2048]),
    ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 4, 131_072, 196_608, [1536, 1536, 1536, 8192]),
    ("XiaomiMiMo/MiMo-V2-Flash", 4, 262_144, 184_320, [1033, 1033, 1033, 1033, 1033, 8192]),
    ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 1, 262_144, 12_877_824, [3, 3, 3, 3, 126]),
    ("nvidia/Nemotron-H-56B-Base-8K", 4, 8_192, 42_270_720, [2, 3, 3, 3, 3, 3, 3]),
    ("Qwen/Qwen3.5-27B", 1, 262_144, 51_380_224, [2, 2, 2, 335]),
    ("Qwen/Qwen3.5-35B-A3B", 1, 262_144, 21_626_880, [2, 2, 2, 249]),
    ("Qwen/Qwen3.5-397B-A17B", 8, 262_144, 8_110_080, [2, 2, 2, 497]),
    ("nvidia/Qwen3.6-27B-NVFP4", 1, 262_144, 51_380_224, [2, 2, 2, 168]),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", 2, 262_144, 6_684_672, [2, 2, 2, 482]),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", 4, 262_144, 3_342_336, [2, 2, 2, 964]),
    ("MiniMaxAI/MiniMax-M2.5", 4, 196_608, 1_015_808, [12_288]),
    ("meta-llama/Llama-3.1-405B", 8, 131_072, 1_032_192, [8192]),
    ("meta-llama/Llama-3.1-8B-Instruct", 16, 131_072, 262_144, [8192]),
    ("mistralai/Mixtral-8x7B-v0.1", 2, 32_768, 1_048_576, [2048]),
    ("Qwen/Qwen3-0.6B", 1, 40_960, 1_835_008, [2560]),
    ("Qwen/Qwen2.5-VL-7B-Instruct", 4, 128_000, 229_376, [8000]),
]


@pytest.mark.parametrize(("name", "tp", "length", "size", "blocks"), GEOMETRY)
def test_groups_and_blocks_as_vllm_makes_them(name: str, tp: int, length: int, size: int, blocks: list[int]) -> None:
    free = name == "mistralai/Mamba-Codestral-7B-v0.1"  # attention-free: no prefix caching, one block
    pool = pool_of(name, tp, state_blocks=1 if free else 2)
    assert pool.bytes_per_block == (size,)
    assert sorted(g.first.blocks(length, 16_384, 1) for g in pool.groups) == blocks
    assert pool.per_sequence(length) == sum(blocks)


# Bytes per token and rank: bytes per block / block size of the same run.
PER_TOKEN = [
    ("meta-llama/Llama-3.1-8B-Instruct", 1, 131_072),
    ("meta-llama/Llama-3.1-70B-Instruct", 4, 81_920),
    ("deepseek-ai/DeepSeek-V3", 8, 70_272),
    ("deepseek-ai/DeepSeek-V3.2", 8, 78_324),
    ("zai-org/GLM-5.2-FP8", 8, 92_628),
    ("Qwen/Qwen3-235B-A22B-FP8", 8, 48_128),
    ("MiniMaxAI/MiniMax-M2.5", 4, 63_488),
]


@pytest.mark.parametrize(("name", "tp", "size"), PER_TOKEN)
def test_bytes_per_token(name: str, tp: int, size: int) -> None:
    assert pool_of(name, tp).growth == size


class TestPrintedLines:
    """What start-up logs say for a pool of a given size: blocks, tokens, concurrency."""

    @pytest.mark.parametrize(("gib", "tokens"), [(5.98, 567_978), (6.01, 569_878)])
    def test_hybrids(self, gib: float, tokens: int) -> None:
        """Qwen3.6-35B-A3B-NVFP4 at 131,072 with an FP8 cache (0.24): concurrency × length, pool printed to 0.01 GiB."""
        pool = pool_of("nvidia/Qwen3.6-35B-A3B-NVFP4", in_flight=8_192, kv=KvDtype.FP8)
        around = range(int((gib - 0.006) * GIB), int((gib + 0.006) * GIB), 4 << 20)
        assert tokens in {pool.printed(pool.blocks([size]) or 0, 131_072, unified=True) for size in around}

    def test_before_0_20_the_line_meant_something_else(self) -> None:
        """Qwen3.5-27B with 0.19: 290,864 tokens are 371 blocks of 784 in each of four groups."""
        pool = pool_of("Qwen/Qwen3.5-27B", state_blocks=1)
        assert {pool.printed(n, 8_192, unified=False) for n in (1484, 1487)} == {290_864}
        assert pool.printed(1484, 8_192, unified=True) > 290_864

    def test_drafting_adds_a_layer_and_state_blocks(self) -> None:
        """Qwen3.6-27B on two cards with MTP(3) and an FP8 cache (0.24): 623,873 tokens are 426 blocks / (164 + 15)."""
        pool = pool_of("nvidia/Qwen3.6-27B-NVFP4", 2, 8_192, speculative=3)
        assert pool.per_sequence(262_144) == 164 + 15
        assert pool.printed(426, 262_144, unified=True) == 623_873

    def test_a_shared_context_is_not_repeated(self) -> None:
        """Kimi-K2 on eight H200 (0.11.1): 46.8 GiB are 715,072 tokens, and with decode context parallel 5,721,088."""
        alone, shared = (pool_of("moonshotai/Kimi-K2-Instruct", 8, shared=n) for n in (1, 8))
        blocks = int(46.8 * GIB) // alone.bytes_per_block[0]
        assert alone.printed(blocks, 131_072, unified=False) == pytest.approx(715_072, rel=0.001)
        assert shared.printed(blocks, 131_072, unified=False) == pytest.approx(5_721_088, rel=0.001)
        assert shared.per_sequence(131_072) * 8 == alone.per_sequence(131_072)


class TestPools:
    def test_windows_stop_growing_and_fp8_halves(self) -> None:
        pool, half = pool_of("openai/gpt-oss-120b"), pool_of("openai/gpt-oss-120b", kv=KvDtype.FP8)
        assert pool.growth == 18 * 8 * 64 * 2 * 2
        assert half.growth * 2 == pool.growth
        assert pool.per_sequence(100_016) - pool.per_sequence(100_000) == 1

    def test_without_groups_windows_are_sized_as_full(self) -> None:
        grouped_pool, flat = pool_of("openai/gpt-oss-20b"), pool_of("openai/gpt-oss-20b", windows=False)
        assert len(flat.groups) == 1
        assert flat.bytes_per_block[0] == 2 * grouped_pool.bytes_per_block[0]

    def test_encoders_and_pipelines_have_no_cache_invented(self) -> None:
        for name in ("sentence-transformers/all-MiniLM-L6-v2", "black-forest-labs/FLUX.1-dev"):
            need = ask(name).needs[0]
            assert (need.kv_bytes_per_token, need.kv_bytes, need.state_bytes_per_sequence) == (0, 0, 0)

    def test_a_decoder_caches_itself_and_the_encoder(self) -> None:
        """Whisper large v3 turbo: 4 decoder layers of 20 heads × 64, and 1,500 encoder positions once per sequence."""
        architecture = model("openai/whisper-large-v3-turbo").architecture
        assert architecture is not None
        assert [(m.kind, m.layers, m.window) for m in architecture.mixers] == [("full", 4, None), ("cross", 4, 1500)]
        pool = pool_of("openai/whisper-large-v3-turbo")
        assert pool.growth == 4 * 20 * 64 * 2 * 2
        assert pool.settled(448) == 448 // 16 + -(-1500 // 16)

    def test_the_poorest_stage_decides(self) -> None:
        layers = [(i, CacheLayer(CacheForm.FULL, 4096, 16)) for i in range(6)]
        pool = Pool(Grouping(layers), [range(4), range(4, 6)], Schedule(0))
        assert pool.bytes_per_block == (4 * 4096, 2 * 4096)
        assert pool.blocks([40 * 4096, 1000 * 4096]) == 10
        assert pool.blocks([400 * 4096, -1]) == 0

    def test_the_longest_sequence_leaves_one_block_empty(self) -> None:
        found = footprint(model("meta-llama/Llama-3.1-8B-Instruct"), "rtx_4090")
        assert found.blocks is not None
        assert found.longest_context == (found.blocks - 1) * 16

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([CacheForm.FULL, CacheForm.WINDOW]), st.sampled_from([1, 2, 3, 4]), st.integers(1, 40)
            ),
            min_size=1,
            max_size=4,
            unique_by=lambda t: (t[0], t[1]),
        ),
        st.integers(1, 100_000),
    )
    def test_every_layer_has_its_place_and_pages_are_equal(
        self, kinds: list[tuple[CacheForm, int, int]], tokens: int
    ) -> None:
        members: list[tuple[int, CacheLayer]] = []
        for kind, width, count in kinds:
            members += [
                (len(members) + i, CacheLayer(kind, 4096 * width, 16, span=512 if kind is CacheForm.WINDOW else 0))
                for i in range(count)
            ]
        groups = grouped(members)
        assert sorted(i for g in groups for i, _ in g.members) == [i for i, _ in members]
        if len(groups) > 1:
            assert len({c.page for g in groups for _, c in g.members}) == 1
        pool = Pool(Grouping(members), [range(10**6)], Schedule(8192))
        assert pool.per_sequence(tokens) <= pool.per_sequence(tokens + 1)

    @given(st.integers(2, 400_000), st.integers(16, 10**6))
    def test_longest_is_the_inverse_of_need(self, blocks: int, limit: int) -> None:
        pool = pool_of("openai/gpt-oss-20b")
        longest = pool.longest(blocks, limit)
        assert longest == 0 or pool.per_sequence(longest) <= blocks - 1
        assert longest == limit or pool.per_sequence(longest + 1) > blocks - 1

    def test_tokens_in_flight_are_shared_by_all_sequences(self) -> None:
        """DeepSeek-V4-Flash at 32,768: 6,810 blocks while one is read in, 154 while it decodes."""
        pool = pool_of("deepseek-ai/DeepSeek-V4-Flash", 4)
        peak, settled = pool.per_sequence(32_768), pool.settled(32_768)
        assert (peak, settled) == (259 * 2 + 4099 + 2065 + 128, 3 * 2 + 3 + 17 + 128)
        assert pool.together(1, 32_768) == peak
        assert pool.together(16, 32_768) == 15 * settled + peak
        assert pool.sequences(pool.together(16, 32_768) + 1, 32_768) == pytest.approx(16)

    def test_without_windows_both_counts_agree(self) -> None:
        pool = pool_of("meta-llama/Llama-3.1-8B-Instruct")
        assert pool.settled(8_192) == pool.per_sequence(8_192)
        assert pool.sequences(1 + 10 * 512, 8_192) == pool.concurrency(10 * 512, 8_192) == 10

    def test_odd_layers_are_not_counted(self) -> None:
        with pytest.raises(ValidationError):
            Mixer(kind="attention of tomorrow", layers=1)
        assert not is_counted(Mixer(kind=MixerKind.FULL, layers=1))
        assert is_counted(Mixer(kind=MixerKind.NONE, layers=1))


class TestWidthsOfDeepSeek:
    """Pages follow from the widths, or are unknown where vLLM's packing is of one width alone (vLLM 0.32)."""

    @staticmethod
    def pages(**widths: int) -> list[int]:
        mixer = Mixer(
            kind=MixerKind.COMPRESSED, layers=1, head_dim=512, rope_head_dim=64, window=128, compress_ratio=4, **widths
        )
        return [layer.page for layer in _layers(mixer, CacheSetting("fp8"), False)]

    def test_what_vllm_has_for_the_published_widths(self) -> None:
        assert self.pages(index_head_dim=128) == [37_440, 37_440, 8_640, 32_832, 8_640]

    def test_a_wider_indexer_has_larger_pages(self) -> None:
        assert self.pages(index_head_dim=256) == [37_440, 37_440, 17_280, 32_832, 16_704]

    @pytest.mark.parametrize(
        "widths", [{"head_dim": 256}, {"head_dim": None}, {"index_head_dim": 64}, {"index_head_dim": None}]
    )
    def test_other_widths_are_unknown(self, widths: dict[str, int | None]) -> None:
        published: dict[str, int | None] = {"head_dim": 512, "index_head_dim": 128}
        assert is_counted(Mixer(kind=MixerKind.COMPRESSED, layers=1, compress_ratio=4, **published))
        assert not is_counted(Mixer(kind=MixerKind.COMPRESSED, layers=1, compress_ratio=4, **(published | widths)))

    def test_an_fp8_cache_of_sparse_latent_attention_has_one_layout(self) -> None:
        sparse = Mixer(kind=MixerKind.MLA, layers=1, heads=128, kv_lora_rank=512, rope_head_dim=64, index_head_dim=128)
        assert is_counted(sparse, "fp8")
        narrow = sparse.model_copy(update={"kv_lora_rank": 256})
        assert is_counted(narrow)
        assert not is_counted(narrow, "fp8")
        half = sparse.model_copy(update={"index_head_dim": 64})
        assert not is_counted(half)
