"""A decision about custom chips in words: its figures in columns, what is missing, what follows."""

from __future__ import annotations

from textwrap import wrap

from tabulate import tabulate

from whichgpu.plan.breakeven import Situation
from whichgpu.plan.decide import Decision, DecisionFigure
from whichgpu.tui.words.units import NOTHING, dollars, wrapped

_WIDTH, _LEAST = 79, 16

SITUATIONS = {
    Situation.OWNER: "you own data centres and may build chips",
    Situation.GPU_CLOUD: "vLLM on rented GPUs, open models",
    Situation.CLOUD_CHIP: "Trainium or TPU in the cloud that you use",
    Situation.DECODE_SERVICE: "a service for fast decoding (Groq, Cerebras)",
    Situation.STARTUP: "chips of a young company",
}


def situations_in_words() -> str:
    """The five situations, to choose one."""
    rows = [(situation.value, text) for situation, text in SITUATIONS.items()]
    table = tabulate(rows, tablefmt="plain")
    return f"{table}\n\nwhichgpu decide SITUATION --model MODEL says in figures what speaks for it."


def decision_in_words(decision: Decision, model: str) -> str:
    """One line per figure with its bounds and source, the missing evidence, what follows."""
    title = f"{decision.situation.value}: {SITUATIONS[decision.situation]}; {model}"
    shown = [(f.name, amount(f), f.source) for f in decision.figures]
    room = _WIDTH - sum(max((len(row[column]) for row in shown), default=0) + 2 for column in (0, 1))
    rows = [(name, text, "\n".join(wrap(source, max(_LEAST, room)))) for name, text, source in shown]
    table = tabulate(rows, tablefmt="plain", disable_numparse=True)
    lines = [*wrapped(title), "", *(line.rstrip() for line in str(table).splitlines())]
    for one in decision.evidence:
        lines += ["", *wrapped(f"{one.chip}: missing {'; '.join(one.missing) or NOTHING}", 0, 2)]
    return "\n".join([*lines, "", *wrapped(decision.advice)])


def amount(figure: DecisionFigure) -> str:
    """``$1.61 ($1.20 to $1.88) per M output``; ``never`` where no end is known; one end alone is ``3.1, or never``."""
    ends = [e for e in (figure.low, figure.high) if e is not None]
    known = [*([] if figure.expected is None else [figure.expected]), *ends]
    if not known:
        return "never"
    size, word = next(((s, w) for s, w in _SIZES if max(map(abs, known)) >= s), (1.0, ""))
    is_money = figure.unit.startswith("$")
    sign = "$" if is_money else ""
    numbers = [sign + _number(v / size, is_money and not word) for v in known]
    unit = " ".join(w for w in (word, figure.unit.removeprefix("$").strip()) if w)
    if figure.expected is None:
        return f"{numbers[0]} {unit}, or never"
    if len(ends) == 2 and ends[0] != ends[1]:
        return f"{numbers[0]} ({numbers[1]} to {numbers[2]}) {unit}".rstrip()
    return f"{numbers[0]} {unit}".rstrip()


_SIZES = ((1e9, "bn"), (1e6, "M"))


def _number(value: float, is_money: bool) -> str:
    if is_money and abs(value) < 1000:
        return dollars(value).lstrip("$")
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 1 else f"{value:.1f}"
