"""A run as the rules of :mod:`tmt.verify` see it: a model with its tokenizer and its bits per byte."""

import numpy as np
import torch
from torch import Tensor

from tmt.checkpoint import Run
from tmt.evaluate.perplexity import score
from tmt.verify.native import Native
from tmt.verify.subject import NotOfferedError


class Evaluated(Native):
    """What `tmt eval` scores."""

    def __init__(self, run: Run):
        super().__init__(run.model, str(run.folder))
        self.tokenizer = run.tokenizer

    def scored(self, text: str, context: int) -> tuple[Tensor, float]:
        """See :class:`tmt.verify.Subject`."""
        if self.tokenizer.rewrites_text:
            raise NotOfferedError("its tokenizer rewrites text: bits per byte are those of what tokens spell")
        ids = np.array([self.tokenizer.eot_id, *self.tokenizer.encode(text)])
        result = score(self.module, ids, self.tokenizer, context=context, stride=context, progress=False)
        return torch.from_numpy(ids), result.bpb
