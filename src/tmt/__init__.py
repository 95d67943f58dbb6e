"""TemporalMesh Transformer and its peers: efficient language models, honestly built and compared."""

__version__ = "0.1.0"
