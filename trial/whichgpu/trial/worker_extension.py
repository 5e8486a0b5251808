"""Runs inside vLLM's workers (``--worker-extension-cls``): bytes that no log line gives, straight from the worker.

Copied beside each run, so that vLLM's environment needs nothing of ours. Imports nothing.
"""


class WhichgpuFacts:
    """Mixed into vLLM's worker; POST /collective_rpc {"method": "whichgpu_facts"} asks every rank."""

    def whichgpu_facts(self):  # type: ignore[no-untyped-def]
        """Return bytes and counts of this rank; ``None`` for what this version does not have."""
        runner = self.model_runner  # type: ignore[attr-defined]  # of the worker that this is mixed into
        model = runner.get_model() if hasattr(runner, "get_model") else runner.model
        cache = self.vllm_config.cache_config  # type: ignore[attr-defined]
        names = ("requested_memory", "total_consumed", "peak_activation_memory", "cudagraph_memory_estimate")
        facts = {name: getattr(self, name, None) for name in (*names, "available_kv_cache_memory_bytes", "rank")}
        facts = {name: int(value) if value is not None else None for name, value in facts.items()}
        facts["model_memory_usage"] = int(getattr(runner, "model_memory_usage", 0) or 0) or None
        storages = [t.untyped_storage() for t in (*model.parameters(), *model.buffers())]
        facts["parameter_bytes"] = sum({s.data_ptr(): s.nbytes() for s in storages}.values())  # tied ones once
        facts["num_gpu_blocks"], facts["block_size"] = cache.num_gpu_blocks, cache.block_size
        return facts
