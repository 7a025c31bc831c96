"""How the views look on a terminal: pure functions from view models to rich renderables, made for 80 columns.

Colour only repeats what words and shapes say, so nothing is lost with NO_COLOR, in a pipe or in an ASCII locale.
"""
