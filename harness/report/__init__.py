"""What people read of a run: the live view, the page, and what a build server takes.

figures.py     numbers with their uncertainty, units and ticks in words
plots.py       traces and waveforms as inline SVG
html.py        one page that needs nothing else (report.html.j2)
junit.py       JUnit XML
terminal.py    the view while a run is on, and the summary at its end
"""
