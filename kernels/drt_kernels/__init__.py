"""Compiled numerics of drt-engine: arrays in, arrays out; no options, no strings, no files."""
