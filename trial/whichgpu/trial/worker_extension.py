"""Runs inside vLLM's workers (``--worker-extension-cls``): bytes that no log line gives, straight from the worker.

Copied beside each run, so that vLLM's environment needs nothing of ours. Imports nothing.
"""

_ROWS = ("num_embeddings_per_partition", "output_size_per_partition", "output_size")
_COLUMNS = ("embedding_dim", "input_size_per_partition", "input_size")


class WhichgpuFacts:
    """Mixed into vLLM's worker; POST /collective_rpc {"method": "whichgpu_facts"} asks every rank."""

    def whichgpu_facts(self):  # type: ignore[no-untyped-def]
        """Return bytes and counts of this rank; ``None`` for what this version does not have."""
        runner = self.model_runner  # type: ignore[attr-defined]  # of the worker that this is mixed into
        model = runner.get_model() if hasattr(runner, "get_model") else runner.model
        cache = self.vllm_config.cache_config  # type: ignore[attr-defined]
        budget = ("requested_memory", "total_consumed", "available_kv_cache_memory_bytes", "rank")
        profile = ("peak_activation_memory", "cudagraph_memory_estimate", "non_torch_memory")
        facts = {name: getattr(self, name, None) for name in (*budget, *profile)}
        facts["total_memory"] = getattr(getattr(self, "init_snapshot", None), "total_memory", None)
        facts = {name: int(value) if value is not None else None for name, value in facts.items()}
        facts["model_memory_usage"] = int(getattr(runner, "model_memory_usage", 0) or 0) or None
        facts["parameter_bytes"] = _parameter_bytes(model)  # type: ignore[no-untyped-call]
        facts["num_gpu_blocks"], facts["block_size"] = cache.num_gpu_blocks, cache.block_size
        return facts


def _parameter_bytes(model):  # type: ignore[no-untyped-def]
    """Bytes of parameters and buffers, tied ones once; ``None`` where some were handed to a kernel and can't be told.

    The CPU build hands a linear layer's weight to oneDNN where the processor has BF16 instructions, and leaves an empty one:
    it is counted by the layer's own sizes (vLLM 0.32 model_executor/layers/utils.py, dispatch_cpu_unquantized_gemm).
    """
    storages = [t.untyped_storage() for t in (*model.parameters(), *model.buffers())]
    total = sum({s.data_ptr(): s.nbytes() for s in storages if s.nbytes()}.values())
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        if weight is None or weight.numel() or not hasattr(layer, "cpu_linear"):
            continue
        sizes = vars(layer)
        rows = next((sizes[name] for name in _ROWS if sizes.get(name)), None)
        columns = next((sizes[name] for name in _COLUMNS if sizes.get(name)), None)
        if not rows or not columns:
            return None
        total += rows * columns * weight.element_size()
    return total
