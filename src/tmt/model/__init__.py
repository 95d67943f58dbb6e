"""Whole models, readable from top to bottom, and the registry that names them."""

from tmt.model.registry import ARCHITECTURES, Architecture, architecture, build_model

__all__ = ["ARCHITECTURES", "Architecture", "architecture", "build_model"]
