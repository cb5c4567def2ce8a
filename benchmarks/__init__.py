"""How fast the engine is, and how good its solutions are; ``docs/benchmarks.md`` says how to run it."""
