"""What a model needs, where it runs, and what that costs: an ``Inspection`` and a ``Workload`` in, plans out."""
