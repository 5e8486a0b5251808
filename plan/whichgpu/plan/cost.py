"""What a million tokens cost, from a price and a rate alone."""

from __future__ import annotations

from whichgpu.inspect.records import Record


class TokenCost(Record):
    """Dollars and energy of a million tokens."""

    usd_per_hour: float
    """Of all cards."""
    tokens_per_second: float
    busy: float
    """Share of the paid time that the rate is there."""
    usd_per_million: float
    tokens_per_hour: float
    """In the hours that are used, on average over all that are paid."""
    tokens_per_joule: float | None
    """Tokens per second and watt, while it is busy."""
    kwh_per_million: float | None


def token_cost(
    usd_per_hour: float, tokens_per_second: float, watts: float | None = None, busy: float = 1.0
) -> TokenCost:
    """Return the cost of a million tokens: dollars an hour ÷ (tokens/s × 3,600 ÷ 1,000,000) ÷ busy."""
    hourly = tokens_per_second * 3600 * busy
    return TokenCost(
        usd_per_hour=usd_per_hour,
        tokens_per_second=tokens_per_second,
        busy=busy,
        usd_per_million=usd_per_hour / (hourly / 1e6),
        tokens_per_hour=hourly,
        tokens_per_joule=tokens_per_second / watts if watts else None,
        kwh_per_million=watts / 1000 / (tokens_per_second * 3600 / 1e6) if watts else None,
    )
