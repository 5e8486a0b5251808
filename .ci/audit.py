"""Ask an advisory database about every locked dependency, and say so where none can be reached: ``audit.py PIP_AUDIT LOCK``."""

from __future__ import annotations

import json
import subprocess
import sys


def main(tool: str, lock: str) -> int:
    words = [tool, "-r", lock, "--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=600)
    try:
        dependencies = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print("not audited: no advisory database can be reached")
        return 0
    audited = [d for d in dependencies if "skip_reason" not in d]
    wrong = [f"{d['name']} {d['version']}: {v['id']}" for d in audited for v in d["vulns"]]
    print("\n".join([*wrong, f"{len(audited)} of {len(dependencies)} dependencies audited, {len(wrong)} advisories"]))
    if not audited:
        print("not audited: the advisory database knows none of them")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
