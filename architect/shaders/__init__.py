"""WGSL shaders as trees that ``pxos fix`` repairs: probes against NumPy, gates, operators, the search.

Owns everything that the repair of a shader has and that of assembly has not. The loop, the budget, the journal and
the reports are the same.
"""
