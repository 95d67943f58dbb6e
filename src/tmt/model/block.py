"""One layer of the TemporalMesh Transformer."""

from dataclasses import replace

from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.counting import flops_of
from tmt.layers.decay import ChannelDecay
from tmt.layers.feed_forward import DualStreamFFN, LocalMix, SwiGLU
from tmt.layers.graph import Graph
from tmt.layers.mesh_attention import Carry, MeshAttention
from tmt.layers.norm import RMSNorm
from tmt.layers.rotary import Rotation
from tmt.layers.rows import Rows
from tmt.model.config import TMTConfig
from tmt.model.trace import LayerTrace


class TMTBlock(nn.Module):
    """One layer: mesh attention, then the FFN, on the rows that still run."""

    def __init__(self, config: TMTConfig, layer: int, graph_type: type[Graph] = Graph):
        super().__init__()
        d, eps = config.d_model, config.layer_norm_eps
        graph = config.graph_spec
        if layer in config.dense_layers:
            graph = replace(graph, kind="dense")
        self.reuse = config.exited_kv == "reuse"
        self.attention_norm = RMSNorm(d, eps)
        self.attention = MeshAttention(
            d,
            config.n_heads,
            eps,
            graph_type(graph),
            builds_graph=layer in config.graph_layers,
            routing_dim=config.routing_dim,
            similarity=config.edge_similarity,
            decay=config.decay,
            decay_rate=config.decay_rate,
            streams_memory=config.stream_memory,
            anchor_query=config.anchor_query,
        )
        self.channel_decay = ChannelDecay(d, config.decay_horizon) if config.channel_decay else None
        self.ffn_norm = RMSNorm(d, eps)
        split = config.dual_stream and config.stream_inputs == "split"
        self.local = LocalMix(d) if split else None
        self.local_norm = RMSNorm(d, eps) if split else None
        hidden = config.ffn_stream_dim
        self.ffn = DualStreamFFN(d, hidden) if config.dual_stream else SwiGLU(d, hidden * 4 // 3)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        rows: Rows,
        gain: Tensor | None,
        carry: Carry | None,
        rotation: Rotation,
        cache: Cache,
        anchors: Tensor | None,
        extra_window: int,
    ) -> tuple[Tensor, LayerTrace]:
        """Advance the rows of the grid x (B·T, D); the other rows keep their bits.

        `gain` (n,) multiplies this layer's updates. See :class:`MeshAttention` for the rest.
        """
        h = rows.take(x)
        normed = self.attention_norm(h)
        sources = (normed, rows) if self.reuse else (self.attention_norm(x), Rows(rows.grid_positions))
        mesh = self.attention(normed, rows, sources, carry, rotation, cache, anchors, extra_window)
        update = mesh.update
        if self.channel_decay is not None:
            update = update * self.channel_decay(rows.positions).to(update.dtype)
        h = h + self._scaled(update, gain)
        update, gate = self._feed_forward(h, rows.put(x, h), rows, cache)
        h = h + self._scaled(update, gain)
        return rows.put(x, h), LayerTrace(rows, normed, mesh, gate)

    def flops(
        self, positions: Tensor, rows: int, everyone: int, banks: tuple[int, int], extra_window: int = 0
    ) -> float:
        """Operations for `rows` running tokens packed at `positions` (B, T'), of `everyone` in the batch."""
        sources = rows if self.reuse else everyone
        total = self.attention.flops(positions, rows, sources, banks, extra_window)
        return total + flops_of(self.ffn, rows) + (self.local.flops(rows) if self.local else 0)

    def flops_alone(self, rows: Rows, banks: tuple[int, int], extra_window: int) -> float:
        """The same, were every sequence of the batch run by itself, without padding and sharing nothing."""
        length, bank = rows.grid_positions.shape[1], (min(1, banks[0]), banks[1])
        return sum(
            self.flops(positions, positions.numel(), length, bank, extra_window)
            for positions in rows.sequences()
        )

    def _scaled(self, update: Tensor, gain: Tensor | None) -> Tensor:
        update = self.dropout(update)
        return update if gain is None else update * gain[:, None].to(update.dtype)

    def _feed_forward(
        self, h: Tensor, grid: Tensor, rows: Rows, cache: Cache
    ) -> tuple[Tensor, Tensor | None]:
        """Update (n, D) for the rows' states `h`; `grid` (B·T, D) holds everyone's for the local mix."""
        semantics = self.ffn_norm(h)
        if isinstance(self.ffn, SwiGLU):
            return self.ffn(semantics), None
        syntax = semantics
        if self.local is not None:
            tail = cache.tail(grid, self.local.width - 1)
            syntax = self.local(grid.unflatten(0, (len(tail), -1)), tail, rows.index, self.local_norm)
        return self.ffn(syntax, semantics)
