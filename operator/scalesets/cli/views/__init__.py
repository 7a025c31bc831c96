"""What the commands show, as values: pure functions from API dicts to frozen view models.

``-o json`` and ``-o yaml`` print these models as they are, ``render`` draws them.
"""
