"""Use cases: answering, fleets, trials, watching the catalog; handed what it needs."""
