"""How fast the engine is, and how good its answers are; ``docs/benchmarks.md`` says how to run it."""
