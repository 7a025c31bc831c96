"""The command line: ``scalesets …`` and, as a kubectl plugin, ``kubectl scaleset …``.

What a command does has three steps, each in its own place: ``cluster`` reads API objects, ``views`` makes a view model
of them (pure), ``render`` draws it (pure). ``look`` and ``act`` are the commands that join these. Only ``cluster`` and
``mirror`` talk to the API server.
"""
