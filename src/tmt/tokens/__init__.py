"""Token ids: tokenizers that account for every byte, and memory-mapped shards.

The batches cut from them, which are tensors, are in :mod:`tmt.tokens.loader` and
:mod:`tmt.tokens.shard_loader`.
"""

from tmt.tokens.make import load_tokenizer, make_tokenizer, require_tokenizer, trained_size
from tmt.tokens.prepare import TokenSplits, prepare
from tmt.tokens.public_shards import ShardFolder, require_new_shards, write_shards
from tmt.tokens.shards import Shard, write_shard
from tmt.tokens.source import Source, open_source
from tmt.tokens.stream import PublicStream, TokenStream
from tmt.tokens.tokenizer import StreamDecoder, Tokenizer

__all__ = [
    "PublicStream",
    "Shard",
    "ShardFolder",
    "Source",
    "StreamDecoder",
    "TokenSplits",
    "TokenStream",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
    "open_source",
    "prepare",
    "require_new_shards",
    "require_tokenizer",
    "trained_size",
    "write_shard",
    "write_shards",
]
