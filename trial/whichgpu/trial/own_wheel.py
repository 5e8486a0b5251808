"""This whichgpu as a wheel, for another machine to install: what runs there is what runs here, not whoever owns a name.

Format: https://packaging.python.org/specifications/binary-distribution-format. It is made of the installed files, so it needs
neither a source tree nor a build tool.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path, PurePosixPath

import whichgpu

_NAME = "whichgpu"
_WHEEL = "Wheel-Version: 1.0\nGenerator: whichgpu\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_OF_THE_INSTALLATION = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "WHEEL"}
"""What an installer wrote beside the package's own metadata."""

_WRITTEN_AT = (1980, 1, 1, 0, 0, 0)


def wheel_name() -> str:
    """``whichgpu-0.1.0-py3-none-any.whl``."""
    return f"{_NAME}-{distribution(_NAME).version}-py3-none-any.whl"


def write_own_wheel(folder: Path) -> Path:
    """Write the wheel into a folder and return its path."""
    package = distribution(_NAME)
    metadata = f"{_NAME}-{package.version}.dist-info"
    path = folder / wheel_name()
    record = io.StringIO()
    rows = csv.writer(record, lineterminator="\n")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:

        def put(name: str, data: bytes) -> None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.writerow((name, f"sha256={digest}", len(data)))
            wheel.writestr(zipfile.ZipInfo(name, _WRITTEN_AT), data, zipfile.ZIP_DEFLATED)

        for name, file in sorted(_code()):
            put(name, file.read_bytes())
        for name, data in _metadata(package):
            put(f"{metadata}/{name}", data)
        put(f"{metadata}/WHEEL", _WHEEL.encode())
        rows.writerow((f"{metadata}/RECORD", "", ""))
        wheel.writestr(zipfile.ZipInfo(f"{metadata}/RECORD", _WRITTEN_AT), record.getvalue())
    return path


def _code() -> Iterator[tuple[str, Path]]:
    """Every file below the folders that make up the namespace package, by its name in a wheel."""
    for root in map(Path, whichgpu.__path__):
        for file in root.rglob("*"):
            relative = file.relative_to(root)
            if file.is_file() and "__pycache__" not in relative.parts:
                yield str(PurePosixPath(_NAME, *relative.parts)), file


def _metadata(package: Distribution) -> Iterator[tuple[str, bytes]]:
    for file in package.files or ():
        folder, *rest = file.parts
        if folder.endswith(".dist-info") and rest and file.name not in _OF_THE_INSTALLATION:
            yield "/".join(rest), Path(str(package.locate_file(file))).read_bytes()
