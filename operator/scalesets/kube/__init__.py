"""The cluster's side of the operator: watches, a cache, views for the engine, and decisions as writes (docs/design.md)."""
