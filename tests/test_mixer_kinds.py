"""Every kind of layer has its tensors, its state, its cache, its speed and its words; a new one that lacks any fails here."""

from __future__ import annotations

import pytest

from whichgpu.inspect.blueprint import decoder
from whichgpu.inspect.design import MixerSpec
from whichgpu.inspect.facts import state_sizes
from whichgpu.inspect.mixer_kinds import TRAITS, CacheForm, MixerKind, traits
from whichgpu.inspect.records import Mixer
from whichgpu.plan.kv_layers import CacheSetting, _layers, is_counted
from whichgpu.tui.words.report_model import mixer_words

SPEC = {
    "heads": 8, "kv_heads": 2, "head_dim": 64, "v_head_dim": 64, "inner": 512, "state_dim": 64, "conv_kernel": 4, "dt_rank": 16,
    "groups": 1, "key_heads": 4, "key_dim": 64, "kv_lora_rank": 512, "q_lora_rank": 128, "rope_head_dim": 64, "nope_head_dim": 128,
    "compress_ratio": 0,
}  # fmt: skip
"""More than any kind needs."""
MIXER = {
    "layers": 1, "heads": 8, "kv_heads": 2, "head_dim": 512, "v_head_dim": 64, "window": 128, "kv_lora_rank": 512, "rope_head_dim": 64,
    "nope_head_dim": 128, "compress_ratio": 0, "state_size": 4096, "conv_size": 512,
}  # fmt: skip


@pytest.mark.parametrize("kind", MixerKind)
class TestEveryKind:
    def test_has_a_row_of_its_own(self, kind: MixerKind) -> None:
        assert traits(kind).words
        assert not (traits(kind).silent and (traits(kind).softmax or traits(kind).recurrent))
        assert not traits(kind).checkpointed or traits(kind).state_paged
        assert not traits(kind).state_paged or traits(kind).recurrent

    def test_has_tensors(self, kind: MixerKind) -> None:
        by_rule = {MixerKind.HYBRID, MixerKind.PROJECTION, MixerKind.NONE, MixerKind.ENCODER}
        assert (kind in decoder._MIXERS) is (kind not in by_rule), "a row, or a rule of the decoder's own"

    def test_has_a_state_where_it_keeps_one(self, kind: MixerKind) -> None:
        spec = MixerSpec(kind=kind, **SPEC)  # type: ignore[arg-type]
        beside = traits(kind).recurrent and not traits(kind).softmax  # a hybrid has the state of what lies beside it
        assert (state_sizes(spec) != (None, None)) is beside

    def test_has_a_cache_or_is_known_to_have_none(self, kind: MixerKind) -> None:
        mixer = Mixer(kind=kind, **MIXER)
        caches = list(_layers(mixer, CacheSetting("bf16"), False))
        if traits(kind).silent:
            assert caches == []
        elif traits(kind).recurrent and not traits(kind).state_paged:
            assert not is_counted(mixer), "unknown, and so is a plan with it"
        else:
            assert is_counted(mixer)
            assert caches
            assert (CacheForm.STATE in {c.kind for c in caches}) is traits(kind).recurrent

    def test_has_words(self, kind: MixerKind) -> None:
        assert traits(kind).words in mixer_words(Mixer(kind=kind, **MIXER))


def test_rows_and_members_are_the_same() -> None:
    assert set(TRAITS) == set(MixerKind)
    words = [t.words for t in TRAITS.values()]
    assert len(set(words)) == len(words)
