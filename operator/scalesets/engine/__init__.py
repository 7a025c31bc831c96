"""The decisions: pure functions of what is seen and what time it is (docs/design.md)."""
