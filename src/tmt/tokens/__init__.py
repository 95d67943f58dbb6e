"""Token ids: tokenizers that account for every byte, memory-mapped shards, and the batches cut from them."""

from tmt.tokens.loader import TokenLoader
from tmt.tokens.make import load_tokenizer, make_tokenizer
from tmt.tokens.prepare import TokenSplits, prepare
from tmt.tokens.shards import Shard, write_shard
from tmt.tokens.stream import TokenStream
from tmt.tokens.tokenizer import StreamDecoder, Tokenizer

__all__ = [
    "Shard",
    "StreamDecoder",
    "TokenLoader",
    "TokenSplits",
    "TokenStream",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
    "prepare",
    "write_shard",
]
