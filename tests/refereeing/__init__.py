"""The parts of the referee (tests/referee.py): reading objects, what it keeps, and who follows pods and upgrades."""
