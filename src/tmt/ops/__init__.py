"""Pure tensor functions. One folder per operation: a readable reference beside its fast paths."""
