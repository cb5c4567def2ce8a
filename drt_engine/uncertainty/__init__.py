"""How sure a solution is: posterior distributions, and intervals from them."""
