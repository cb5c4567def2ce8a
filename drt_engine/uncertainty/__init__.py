"""Uncertainty of solutions: posterior distributions, and intervals from them."""
