"""The one exception that the local control plane raises for what a person can mend.

The message says what failed, where, and what to do about it; the command line prints it without a traceback.
"""


class LocalError(Exception):
    """Something about this machine, its network or its directories stands in the way."""
