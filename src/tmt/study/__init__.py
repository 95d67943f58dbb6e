"""Studies: a list of runs trained and scored by one plan, kept as records, and compared with intervals."""
