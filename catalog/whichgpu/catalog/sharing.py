"""Push, pull and sync: findings to and from a store of bundles; interrupted anywhere, the next time completes it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

from whichgpu.catalog import bundles, files
from whichgpu.catalog.bundles import Policy
from whichgpu.catalog.errors import CatalogError
from whichgpu.catalog.intake import Intake, Refusal, take_all
from whichgpu.catalog.records import Finding, Stamp
from whichgpu.catalog.store import Catalog, people_of
from whichgpu.catalog.stores import BundleStore
from whichgpu.inspect.records import Record
from whichgpu.inspect.text import clean

People = dict[str, list[tuple[str, str, str]]]
"""Per bundle, the (pseudonym, name, host) that it tells."""


class Pushed(Record):
    """What went out."""

    findings: int
    bundles: int
    bytes: int
    withheld: int
    """Findings that the policy keeps here."""


class Pulled(Record):
    """What came in."""

    bundles: int
    intakes: tuple[Intake, ...]
    refused: tuple[Refusal, ...]
    """Whole bundles that were not read."""

    @property
    def new(self) -> int:
        return sum(i.new for i in self.intakes)


def pull(catalog: Catalog, store: BundleStore, target: str) -> Pulled:
    """Take every bundle that was not read before.

    Raises:
        CatalogError: the store cannot be reached, or this catalog cannot be written.
    """
    names = sorted(store.names() - _read_bundle_names(catalog, target))
    people: People = {}
    intakes = take_all(catalog, {name: partial(_opened, store, name, people) for name in names}, target)
    refused = [
        Refusal(identity=clean(name, 80), why=i.message) for name, i in intakes.items() if isinstance(i, CatalogError)
    ]
    whole = {name: intake for name, intake in intakes.items() if isinstance(intake, Intake)}
    for name, intake in whole.items():
        if not any(r.later for r in intake.refused):
            _mark_read(catalog, target, name, people[name])
    return Pulled(bundles=len(whole), intakes=tuple(whole.values()), refused=tuple(refused))


def _opened(store: BundleStore, name: str, people: People) -> Iterator[Finding | Refusal]:
    data = store.read(name) if bundles.NAME.fullmatch(name) else b""
    people[name] = bundles.people_in(name, data)
    return bundles.unpacked(name, data)


def push(catalog: Catalog, store: BundleStore, target: str, policy: Policy, stamp: Stamp) -> Pushed:
    """Add what the store does not have and the policy allows.

    Raises:
        CatalogError: the store cannot be reached or written.
    """
    waiting = _unshared_findings(catalog, target)
    going = [f for f in waiting if policy.allows(f)]
    bundle_files = bundles.packed(going, stamp, _people(catalog) if policy.names else ())
    if bundle_files:
        store.add(bundle_files)
        _mark_shared(catalog, target, going, list(bundle_files))
    return Pushed(
        findings=len(going),
        bundles=len(bundle_files),
        bytes=bundles.sizes(bundle_files.values()),
        withheld=len(waiting) - len(going),
    )


def _read_bundle_names(catalog: Catalog, target: str) -> set[str]:
    if not catalog.path.exists():
        return set()
    with catalog.reading() as connection:
        if files.steps_of(connection) < files.SCHEMA_STEPS:
            return set()
        return {r[0] for r in connection.execute("SELECT name FROM bundles WHERE target = ?", (target,))}


def _unshared_findings(catalog: Catalog, target: str) -> list[Finding]:
    return catalog.find("identity NOT IN (SELECT identity FROM shared WHERE target = ?)", (target,))


def _people(catalog: Catalog) -> list[tuple[str, str, str]]:
    with catalog.reading() as connection:
        return [(r[0], r[1], r[2]) for r in connection.execute("SELECT id, name, host FROM people")]


def _mark_read(catalog: Catalog, target: str, name: str, people: list[tuple[str, str, str]]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with catalog.writing() as connection:
        connection.execute(
            "INSERT OR IGNORE INTO bundles (target, name, read_at) VALUES (?, ?, ?)", (target, name, now)
        )
        people_of(connection, people)


def _mark_shared(catalog: Catalog, target: str, findings: list[Finding], names: list[str]) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with catalog.writing() as connection:
        connection.executemany(
            "INSERT OR IGNORE INTO shared (target, identity) VALUES (?, ?)", [(target, f.identity) for f in findings]
        )
        connection.executemany(
            "INSERT OR IGNORE INTO bundles (target, name, read_at) VALUES (?, ?, ?)", [(target, n, now) for n in names]
        )
