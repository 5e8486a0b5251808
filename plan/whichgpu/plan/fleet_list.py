"""A list of served models: Hub ids one a line, a CSV with a ``model`` column, or YAML (or JSON) of names and settings."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from pydantic import Field, ValidationError

from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean
from whichgpu.plan.choices import KvDtype, Precision
from whichgpu.plan.errors import FleetError
from whichgpu.plan.records import Workload

_HELP = "Give ids one a line, a CSV with a model column, or a YAML list; settings: context, concurrency, replicas, …"


class FleetEntry(Record):
    """One served model; what is left out is as for the whole fleet."""

    model: str = Field(min_length=1)
    replicas: int = Field(default=1, ge=1, le=10_000)
    context: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)
    input: int | None = Field(default=None, ge=1)
    output: int | None = Field(default=None, ge=1)
    rate: float | None = Field(default=None, gt=0)
    precision: Precision | None = None
    kv_dtype: KvDtype | None = None

    def workload(self, base: Workload) -> Workload:
        """Return the fleet's workload with this model's own settings."""
        settings = {
            "context": self.context,
            "concurrency": self.concurrency,
            "prompt": self.input,
            "output": self.output,
            "rate": self.rate,
            "precision": self.precision,
            "kv_dtype": self.kv_dtype,
        }
        return base.model_copy(update={k: v for k, v in settings.items() if v is not None})


def read_fleet(text: str) -> tuple[FleetEntry, ...]:
    """Read a list of models.

    Raises:
        FleetError: it is empty, in no known form, or an entry is none.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines:
        raise FleetError("The list of models is empty.", _HELP)
    header = [c.strip().lower() for c in lines[0].split(",")]
    if "model" in header:
        return _entries({k.strip().lower(): v for k, v in row.items() if k} for row in _csv(lines))
    if lines[0].lstrip().startswith(("-", "[", "{")) or ":" in lines[0].split("//")[0]:
        return _entries(_yaml(text))
    return _entries({"model": line.split("#")[0].strip()} for line in lines)


def _csv(lines: Iterable[str]) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO("\n".join(lines)), strict=True))
    except csv.Error as error:
        raise FleetError(f"The list is no CSV: {clean(error, 80)}.", _HELP) from error


def _yaml(text: str) -> list[dict[str, Any]]:
    import yaml

    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:
        raise FleetError(f"The list is no YAML: {clean(error, 120)}.", _HELP) from error
    except RecursionError as error:
        raise FleetError("The list is nested too deeply.", _HELP) from error
    if isinstance(content, dict) and isinstance(content.get("models"), (list, dict)):
        content = content["models"]
    if isinstance(content, dict):
        content = [
            {"model": name, **settings} if isinstance(settings, dict) else [name, settings]
            for name, settings in content.items()
        ]
        content = [entry[0] if isinstance(entry, list) and entry[1] is None else entry for entry in content]
    if not isinstance(content, list):
        raise FleetError("The YAML is no list of models.", _HELP)
    return [{"model": entry} if isinstance(entry, str) else entry for entry in content]


def _entries(rows: Iterable[Any]) -> tuple[FleetEntry, ...]:
    entries: list[FleetEntry] = []
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise FleetError(f"Entry {number} of the list is no model: {clean(row, 60)}.", _HELP)
        fields = {k: (v.strip() if isinstance(v, str) else v) for k, v in row.items()}
        try:
            entries.append(FleetEntry.model_validate({k: v for k, v in fields.items() if v not in (None, "")}))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise FleetError(f"Entry {number} of the list: {clean(where)}: {clean(first['msg'])}.", _HELP) from error
    if not entries:
        raise FleetError("The list names no model.", _HELP)
    return tuple(entries)
