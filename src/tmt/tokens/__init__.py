"""Token ids: tokenizers that account for every byte, memory-mapped shards, and the batches cut from them."""

from tmt.tokens.loader import Loader, TokenLoader
from tmt.tokens.make import load_tokenizer, make_tokenizer, trained_size
from tmt.tokens.prepare import TokenSplits, prepare
from tmt.tokens.public_shards import ShardFolder, require_new_shards, write_shards
from tmt.tokens.shard_loader import ShardLoader, training_loader
from tmt.tokens.shards import Shard, write_shard
from tmt.tokens.source import Source, open_source
from tmt.tokens.stream import PublicStream, TokenStream
from tmt.tokens.tokenizer import StreamDecoder, Tokenizer

__all__ = [
    "Loader",
    "PublicStream",
    "Shard",
    "ShardFolder",
    "ShardLoader",
    "Source",
    "StreamDecoder",
    "TokenLoader",
    "TokenSplits",
    "TokenStream",
    "Tokenizer",
    "load_tokenizer",
    "make_tokenizer",
    "open_source",
    "prepare",
    "require_new_shards",
    "trained_size",
    "training_loader",
    "write_shard",
    "write_shards",
]
