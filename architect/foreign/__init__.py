"""Kernels of any make: their syntaxes in the words of the search, their judge in the words of the loop."""
