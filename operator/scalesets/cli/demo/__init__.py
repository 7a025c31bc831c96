"""``scalesets demo``: see it work, and have it proven, in a minute or two (`make demo`).

``command`` is the command line, ``stage`` what it plays on (a control plane of its own, with the operator), ``story``
what happens, ``evidence``, ``in_place`` and ``domains`` how that is checked from outside, ``show`` how it looks
meanwhile.
"""
