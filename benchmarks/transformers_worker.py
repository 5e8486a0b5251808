"""Let transformers itself count and rewrite: its classes on the meta device, and configs as it saves them.

    PYTHONPATH=TRANSFORMERS PYTHON benchmarks/transformers_worker.py < requests.jsonl > answers.jsonl

Runs where torch is (vLLM's environment). ``{"model_type": …}`` builds the class that a type's default config makes a language model
with, and counts its parameters by role; ``{"folder": …}`` reads a config and answers with what ``save_pretrained`` would write.
No code of a repository runs, and no weights are read.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from typing import Any

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import torch
import transformers
from transformers.models.auto import configuration_auto, modeling_auto

_MAPPINGS = ("MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING", "MODEL_FOR_MULTIMODAL_LM_MAPPING", "MODEL_FOR_CAUSAL_LM_MAPPING")
_TOWERS = ("vision", "visual", "audio", "image", "speech", "encoder_tower")


def types() -> list[str]:
    """Every type that some language model is made of."""
    found = []
    for model_type, config_class in configuration_auto.CONFIG_MAPPING.items():
        if any(config_class in getattr(modeling_auto, name, {}) for name in _MAPPINGS):
            found.append(model_type)
    return sorted(found)


def _class_of(config: Any) -> Any:
    for name in _MAPPINGS:
        mapping = getattr(modeling_auto, name, {})
        if type(config) in mapping:
            return mapping[type(config)]
    raise LookupError(f"no language model is made of {type(config).__name__}")


def _role(name: str) -> str:
    if any(word in name for word in _TOWERS):
        return "towers"
    if "experts" in name and "shared" not in name:
        return "routed experts"
    if "embed_tokens" in name or name.endswith(("wte.weight", "word_embeddings.weight")):
        return "embedding"
    return "head" if name.startswith("lm_head") else "other"


def counted(model_type: str) -> dict[str, Any]:
    """Build a type's language model from its default config."""
    config = configuration_auto.CONFIG_MAPPING[model_type]()
    model_class = _class_of(config)
    with torch.device("meta"):
        model = model_class(config)
    roles: Counter[str] = Counter()
    seen: set[int] = set()
    model.tie_weights()
    for name, parameter in model.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            roles[_role(name)] += parameter.numel()
    config.architectures = [model_class.__name__]
    config.dtype = "bfloat16"
    tied = model.get_output_embeddings() is not None and (
        model.get_output_embeddings().weight is model.get_input_embeddings().weight
    )
    return {"class": model_class.__name__, "params": sum(roles.values()), "roles": dict(roles), "tied": tied} | _saved(
        config
    )


def _saved(config: Any) -> dict[str, Any]:
    return {"config": json.loads(config.to_json_string())}


def main() -> None:
    """Answer one request per line."""
    out, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"transformers": transformers.__version__, "types": types()}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "folder" in request:
                config = transformers.AutoConfig.from_pretrained(
                    request["folder"], trust_remote_code=False, local_files_only=True
                )
                answer = _saved(config)
            else:
                answer = counted(request["model_type"])
        except Exception as error:
            answer = {"error": type(error).__name__}  # nobody reads its words: such a model is left out
        print(json.dumps(request | answer), file=out, flush=True)


if __name__ == "__main__":
    main()
