"""From batches to a trained model: optimisers, schedule, averaging, the loop, and its exact resumption."""
