"""The tensors of a model as a tree of their names; branches are made when they are folded out, so that size doesn't matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from whichgpu.inspect.records import TensorGroup
from whichgpu.inspect.text import clean
from whichgpu.tui.app.widgets import KeyTree
from whichgpu.tui.words.units import memory

_NAME = 30
"""Cells of the name column, indentation included."""
_INDENT = 2


@dataclass(slots=True)
class Branch:
    """One part of a dotted name: groups that end here, and branches below."""

    name: str
    groups: list[TensorGroup] = field(default_factory=list)
    below: dict[str, Branch] = field(default_factory=dict)
    count: int = 0
    bytes: int | None = 0
    """``None`` where one of its groups has an unknown size."""

    def add(self, parts: Sequence[str], group: TensorGroup) -> None:
        """Sort a group in, and count it on the way."""
        self.count += group.count
        self.bytes = self.bytes + group.bytes if self.bytes is not None and group.bytes is not None else None
        if not parts:
            self.groups.append(group)
            return
        self.below.setdefault(parts[0], Branch(parts[0])).add(parts[1:], group)

    def shortened(self) -> Branch:
        """Return the branch with chains of single branches as one: ``model.layers.*``."""
        at = self
        while len(at.below) == 1 and not at.groups:
            (only,) = at.below.values()
            name = f"{at.name}.{only.name}" if at.name else only.name
            at = Branch(name, only.groups, only.below, only.count, only.bytes)
        return at


def tree_of(groups: Sequence[TensorGroup]) -> Branch:
    """Return the names of all groups as a tree."""
    root = Branch("")
    for group in groups:
        component = [group.component] if group.component and not group.name.startswith(f"{group.component}.") else []
        root.add([*component, *group.name.split(".")], group)
    return root


class TensorTree(KeyTree):
    """Name, tensors, shape, dtype and bytes."""

    show_root = False
    guide_depth = _INDENT

    def show_groups(self, groups: Sequence[TensorGroup]) -> None:
        """Show a model's tensors, the largest branches first."""
        self.clear()
        self.show_root = False
        self.root.expand()
        self._fill(self.root, tree_of(groups))

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[object]) -> None:
        if isinstance(event.node.data, Branch) and not event.node.children:
            self._fill(event.node, event.node.data)

    def _fill(self, node: TreeNode[object], branch: Branch) -> None:
        depth = 1 if node is self.root else _depth(node) + 1
        for group in branch.groups:
            node.add_leaf(_leaf(branch.name if node is self.root else "", group, depth))
        for below in sorted((b.shortened() for b in branch.below.values()), key=lambda b: -(b.bytes or 0)):
            if len(below.groups) == 1 and not below.below:
                node.add_leaf(_leaf(below.name, below.groups[0], depth))
            else:
                node.add(_line(below.name, below.count, "", "", below.bytes, depth, folded=True), data=below)


def _depth(node: TreeNode[object]) -> int:
    depth, at = 0, node
    while at.parent is not None:
        depth, at = depth + 1, at.parent
    return depth


def _leaf(name: str, group: TensorGroup, depth: int) -> Text:
    shape = " × ".join(map(str, group.shape))
    return _line(name, group.count, shape, group.dtype, group.bytes, depth)


def _line(name: str, count: int, shape: str, dtype: str, size: int | None, depth: int, folded: bool = False) -> Text:
    room = max(8, _NAME - _INDENT * depth - (0 if folded else -2))
    label = clean(name, 120)
    label = label if len(label) <= room else "…" + label[len(label) - room + 1 :]
    return Text(f"{label:<{room}} {count:>7,}  {shape:<17} {clean(dtype, 8):<8} {memory(size):>10}")
