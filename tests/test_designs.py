"""Designs beside plain decoders, from configs alone: encoders, query transformers, pairs of stacks, layers that are shared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from benchmarks.transformers_oracle import ARTEFACTS, CLOSE, counted, kept

from tests.hub import shapes
from whichgpu.inspect.counting import fit_to_names
from whichgpu.inspect.inspector import inspect_model
from whichgpu.inspect.records import Inspection, ModelClass, Part
from whichgpu.inspect.reference import parse_reference

Config = dict[str, Any]
DEFAULTS = {row["model_type"]: row for row in kept() if "params" in row}

COUNTS = {
    # parameters of the class that transformers 5.24.0 builds from a type's default config, on the meta device
    "apertus1p5": 8_317_544_000,
    "axk2": 20_314_494_976,
    "bert-generation": 354_452_662,
    "big_bird": 128_111_286,
    "bigbird_pegasus": 469_630_976,
    "biogpt": 346_763_264,
    "blip": 223_971_644,
    "blip-2": 1_216_944_384,
    "blt": 4_633_127_680,
    "cohere2_vision": 35_651_000_064,
    "cosmos3_edge": 2_435_616_496,
    "cpmant": 9_517_453_312,
    "ctrl": 1_637_964_550,
    "dory": 3_975_229_440,
    "dots3_note": 287_309_195_008,
    "ernie4_5_vl_moe": 29_399_294_336,
    "exaone4_5": 12_100_938_496,
    "florence2": 497_761_280,
    "fun_asr_nano": 829_791_840,
    "gemma3n_text": 6_835_235_568,
    "gemma4_unified_assistant": 2_872_140_800,
    "git": 176_619_066,
    "glm_ocr": 807_479_808,
    "got_ocr2": 560_528_640,
    "granite_docling": 543_428_352,
    "hrm_text": 1_447_822_848,
    "idefics": 12_670_461_504,
    "idefics2": 8_061_394_944,
    "instructblip": 1_297_466_112,
    "instructblipvideo": 1_297_466_112,
    "jetmoe": 4_293_888_000,
    "kosmos-2": 1_664_485_376,
    "kosmos-2.5": 1_374_646_272,
    "lfm3_vl": 1_918_181_888,
    "minicpmv4_7": 9_111_202_816,
    "molmo2": 8_694_602_192,
    "moshi": 6_839_083_008,
    "nemo_speechlm": 32_361_750_159,
    "nemotron_h_omni": 2_659_803_008,
    "omniasr": 1_638_453_760,
    "paddleocr_vl": 799_695_472,
    "phi4_multimodal": 5_308_268_992,
    "pi0": 3_501_372_176,
    "pix2struct": 282_285_696,
    "pp_chart2table": 560_528_640,
    "prophetnet": 239_640_576,
    "rembert": 993_263_548,
    "roc_bert": 124_514_106,
    "roformer": 124_197_968,
    "rwkv": 7_392_649_216,
    "t5gemma2": 4_747_846_400,
    "trocr": 253_559_808,
    "unlimited_ocr": 3_335_504_128,
    "vibevoice_asr": 12_772_521_344,
    "video_llava": 7_365_754_880,
    "vision-encoder-decoder": 224_270_394,
    "voxtral_realtime": 4_429_679_360,
    "whisper": 29_552_256,
    "xlm": 667_119_041,
    "xlnet": 360_300_800,
    "xmod": 116_606_010,
    "zamba": 7_232_490_496,
    "zaya": 8_840_488_784,
}
TIED_BY_CLASS = (
    "deepseek_vl",
    "glmasr",
    "granite_speech",
    "granite_speech_plus",
    "hyperclovax_vision_v2",
    "internvl",
    "lighton_ocr",
    "minicpm_ocr",
    "mistral3",
    "moss_transcribe_diarize",
    "ovis2",
)
"""Types whose class ties embedding and head by its outer level, while the language model's level says that they are apart."""


@pytest.fixture
def inspected(tmp_path: Path) -> Callable[[Config], Inspection]:
    def inspect(config: Config) -> Inspection:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return inspect_model(parse_reference(str(tmp_path)))

    return inspect


@pytest.mark.parametrize("model_type", COUNTS)
def test_a_default_model_is_counted_as_its_class_is(model_type: str) -> None:
    assert DEFAULTS[model_type]["params"] == COUNTS[model_type]
    assert counted(DEFAULTS[model_type]).parameters == pytest.approx(COUNTS[model_type], rel=CLOSE)


@pytest.mark.parametrize("model_type", TIED_BY_CLASS)
def test_what_a_class_ties_differs_by_the_head_alone(model_type: str) -> None:
    case, text = counted(DEFAULTS[model_type]), DEFAULTS[model_type]["config"]["text_config"]
    assert model_type in ARTEFACTS
    assert case.parameters is not None
    head = text["vocab_size"] * text["hidden_size"]
    assert case.parameters - head == pytest.approx(COUNTS.get(model_type, case.row["params"]), rel=1e-3)


class TestPublished:
    """Counts of published checkpoints, from what their configs say."""

    VIBEVOICE: ClassVar[Config] = {
        "model_type": "vibevoice",
        "architectures": ["VibeVoiceForConditionalGeneration"],
        "acoustic_tokenizer_config": {
            "model_type": "vibevoice_acoustic_tokenizer", "encoder_depths": "3-3-3-3-3-3-8", "encoder_n_filters": 32,
            "decoder_n_filters": 32, "encoder_ratios": [8, 5, 5, 4, 2, 2], "vae_dim": 64,
        },
        "semantic_tokenizer_config": {
            "encoder_depths": "3-3-3-3-3-3-8", "encoder_n_filters": 32, "encoder_ratios": [8, 5, 5, 4, 2, 2], "vae_dim": 128,
        },
        "diffusion_head_config": {"hidden_size": 1536, "head_ffn_ratio": 3.0, "head_layers": 4, "latent_size": 64},
        "decoder_config": {
            "model_type": "qwen2", "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
            "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936, "tie_word_embeddings": True,
        },
    }  # fmt: skip
    PHI: ClassVar[Config] = {
        "model_type": "phi4mm", "architectures": ["Phi4MMForCausalLM"], "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 24, "num_key_value_heads": 8, "vocab_size": 200064,
        "tie_word_embeddings": True, "vision_lora": {"r": 256}, "speech_lora": {"r": 320},
    }  # fmt: skip
    COHERE: ClassVar[Config] = {
        "model_type": "cohere_asr",
        "architectures": ["CohereAsrForConditionalGeneration"],
        "is_encoder_decoder": True,
        "encoder": {
            "feat_in": 128, "n_layers": 48, "d_model": 1280, "ff_expansion_factor": 4, "n_heads": 8, "conv_kernel_size": 9,
        },
        "transf_decoder": {
            "config_dict": {
                "max_sequence_length": 1024, "hidden_size": 1024, "inner_size": 4096, "num_layers": 8, "num_attention_heads": 8,
                "vocab_size": "None",
            }
        },
        "head": {"num_classes": 16384, "hidden_size": 1024},
    }  # fmt: skip

    @pytest.mark.parametrize(
        ("config", "parameters"),
        [
            (VIBEVOICE, 2_704_021_985),  # Hub API, safetensors.total: microsoft/VibeVoice-1.5B
            (PHI, 5_574_460_384),  # microsoft/Phi-4-multimodal-instruct, its two adapters included
            (COHERE, 2_065_647_872),  # transformers 5.24.0 CohereAsrForConditionalGeneration, meta device
        ],
        ids=("vibevoice", "phi4mm", "cohere_asr"),
    )
    def test_is_counted(self, config: Config, parameters: int, inspected: Callable[[Config], Inspection]) -> None:
        inspection = inspected(config)
        assert inspection.parameters.total.value == pytest.approx(parameters, rel=1e-4)
        assert ModelClass.MULTIMODAL in inspection.classes
        assert not inspection.warnings

    def test_what_a_class_filled_in_does_not_stand_for_what_was_described(
        self, inspected: Callable[[Config], Inspection]
    ) -> None:
        """transformers 5.24 adds a language model of defaults to VibeVoice's config when it saves it."""
        filled = {"model_type": "qwen2", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
        figures = [
            inspected(config).parameters for config in (self.VIBEVOICE, self.VIBEVOICE | {"text_config": filled})
        ]
        assert figures[0] == figures[1]

    def test_a_class_has_an_encoder_that_its_config_leaves_out(self, inspected: Callable[[Config], Inspection]) -> None:
        """Llama 4's, with its class's sizes: what a loader of such a config builds."""
        config = DEFAULTS["llama4"]["config"]
        without = {key: value for key, value in config.items() if key != "vision_config"}
        assert inspected(without).parameters.total == inspected(config).parameters.total
        assert inspected(without).classes == inspected(config).classes
        alone = inspected(without | {"architectures": ["Llama4ForCausalLM"]})
        assert ModelClass.MULTIMODAL not in alone.classes


class TestBeside:
    """What a config describes beside all that is counted."""

    def test_a_model_that_nobody_counts_is_said(self, inspected: Callable[[Config], Inspection]) -> None:
        said = inspected(DEFAULTS["qwen2_5_omni"]["config"]).warnings
        assert [text for text in said if "talker_config" in text]
        assert [text for text in said if "token2wav_config" in text]

    def test_what_belongs_to_an_encoder_is_not_said(self, inspected: Callable[[Config], Inspection]) -> None:
        for model_type in ("blip-2", "granite_speech", "t5gemma2", "pi0", "gemma3"):
            said = inspected(DEFAULTS[model_type]["config"]).warnings
            assert not [text for text in said if "not counted" in text], model_type

    def test_a_base_that_is_only_named_is_said(self, inspected: Callable[[Config], Inspection]) -> None:
        """Ultravox: its repository holds what joins a language model and an encoder, of which it may hold none."""
        config: Config = {
            "model_type": "ultravox",
            "hidden_size": 4096,
            "text_model_id": "meta-llama/Llama-3.1-8B-Instruct",
        }
        said = [text for text in inspected(config).warnings if "not counted" in text]
        assert len(said) == 1
        assert "config.json: text_model_id = meta-llama/Llama-3.1-8B-Instruct" in said[0]
        config |= {"text_config": shapes.LLAMA_8B, "audio_model_id": "openai/whisper-large-v3-turbo"}
        said = [text for text in inspected(config).warnings if "not counted" in text]
        assert [text for text in said if "text_model_id" in text] == []
        assert len(said) == 1

    def test_an_encoder_without_sizes_beside_a_decoder_is_said(self, inspected: Callable[[Config], Inspection]) -> None:
        """Nemotron Parse names its image encoder alone."""
        decoder = {
            "is_decoder": True,
            "d_model": 64,
            "decoder_layers": 2,
            "decoder_ffn_dim": 128,
            "vocab_size": 100,
            "encoder_layers": 2,
        }
        inspection = inspected({"is_encoder_decoder": True, "decoder": decoder, "encoder": {"patch_size": 16}})
        assert any("vision encoder's sizes" in text for text in inspection.unread)

    def test_an_index_that_names_no_encoder_has_none(self) -> None:
        from whichgpu.inspect.architecture import read_design
        from whichgpu.inspect.blueprint.decoder import language_model
        from whichgpu.inspect.blueprint.towers import tower_rows, towers
        from whichgpu.inspect.config_view import config_root

        root = config_root(DEFAULTS["gemma3"]["config"], "config.json")
        design = read_design(root)
        assert design is not None
        rows = language_model(design)
        rows += [row for modality, view in towers(root) for row in tower_rows(modality, view, design.hidden, root)]
        seen = {Part.VISION, Part.PROJECTOR}
        text = "language_model.model.layers.0.self_attn.q_proj.weight"
        assert not seen & {row.part for row in fit_to_names(rows, [text], design)}
        image = "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight"
        assert seen <= {row.part for row in fit_to_names(rows, [text, image], design)}

    @pytest.mark.parametrize(
        "value", [None, 7, "x", [], [1], {}, {"hidden_size": "x"}, {"hidden_size": -1}, {"num_layers": 7}]
    )
    def test_odd_parts_break_nothing(self, value: object, inspected: Callable[[Config], Inspection]) -> None:
        parts = (
            "qformer_config",
            "perceiver_config",
            "adapter_config",
            "adaptor_config",
            "projector_config",
            "diffusion_head_config",
        )
        for model_type in ("blip-2", "idefics2", "molmo2", "fun_asr_nano", "granite_speech", "qwen2_5_omni"):
            config = DEFAULTS[model_type]["config"]
            inspected(config | {part: value for part in parts if part in config or part == "diffusion_head_config"})
