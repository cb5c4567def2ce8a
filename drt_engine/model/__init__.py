"""The model and its least-squares problem: basis functions, matrices, weights, and their GSVD."""
