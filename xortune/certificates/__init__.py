"""How sure one can be: plans, fresh seeds for finalists, the gate, the pytest plugin."""
