"""The cluster's side of the operator: watches, cache, views for the engine, decisions as writes (docs/design.md)."""
