"""The TemporalMesh Transformer, from tokens to logits."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from tmt.layers.cache import Cache
from tmt.layers.exit_gate import Decision, ExitGate, binary_entropy, depth_penalty
from tmt.layers.graph import Graph
from tmt.layers.memory_anchors import MemoryAnchors
from tmt.layers.row_step import plan_of
from tmt.layers.rows import Rows
from tmt.model import mesh_step
from tmt.model.base import Hidden, LanguageModel
from tmt.model.block import TMTBlock
from tmt.model.config import TMTConfig
from tmt.model.diagnostics import Diagnostics, TMTOutput
from tmt.model.trace import LayerTrace


class TMTModel(LanguageModel):
    """Causal language model whose tokens read a graph of their past and leave when they are done."""

    config: TMTConfig
    graph: type[Graph] = Graph
    """Who chooses the neighbours of each layer, for a subclass to replace."""

    def __init__(self, config: TMTConfig):
        super().__init__(config)
        layers = (TMTBlock(config, layer, self.graph) for layer in range(config.n_layers))
        self.blocks = cast("Sequence[TMTBlock]", nn.ModuleList(layers))
        m = config.memory_anchors
        self.memory = MemoryAnchors(m, config.d_model, config.memory_momentum) if m else None
        self.landing = config.n_layers - config.landing_layers
        gated = range(config.entry_layers - 1, self.landing - 1) if config.exits else ()
        threshold = None if config.target_depth is not None else config.exit_threshold
        settings = (config.layer_norm_eps, config.exit_objective, config.exit_gate, threshold)
        gates = {str(layer): ExitGate(config.d_model, *settings) for layer in gated}
        self.gates = cast("Mapping[str, ExitGate]", nn.ModuleDict(gates))
        self.keep = dict(zip(self.gates, config.keep_shares, strict=True)) if config.keep_shares else {}
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.initialise()

    def trunk(self, tokens: Tensor, cache: Cache, diagnose: bool, last_only: bool) -> Hidden:
        """See :class:`LanguageModel`."""
        output, traces, layer_rows, decisions = TMTOutput(), [], [], []
        watched = diagnose or self.training or self.config.stream_memory
        x, carry, gain = self.embed(tokens), None, None
        rows = everyone = Rows(cache.positions)
        anchors, update_memory = self._open_memory(cache)
        banks = (0, 0) if anchors is None else (anchors.shape[0], anchors.shape[1])
        if not (cache.fresh or self.config.stream_memory):
            banks = (0, banks[1])
        extra_window = self._extra_window()
        rotation = self.blocks[0].attention.heads.rotation(everyone.positions + self.origin)
        for layer, block in enumerate(self.blocks):
            if layer == self.landing:
                rows, gain = everyone, None
            trace = plan = None
            if not watched and rows.count == everyone.count:
                plan = plan_of(block, x, cache, partial(mesh_step.plan, block))
            if plan is not None:
                x, carry = mesh_step.step(block, plan, x, gain, carry, rotation, cache, anchors)
            else:
                x, trace = block(x, rows, gain, carry, rotation, cache, anchors, extra_window)
                carry = trace.mesh.carry
            shapes = (rows.packed_positions, rows.count, everyone.count, banks, extra_window)
            output.work.append(partial(block.flops, *shapes))
            output.batching.append(partial(_saved_by_batch, block, rows, shapes))
            output.layer_tokens.append(rows.count)
            layer_rows.append(rows)
            if watched:  # a trace holds all that its layer computed
                traces.append(trace)
            if str(layer) in self.gates:
                decision = self._decide(layer, tokens, rows.take(x), rows)
                if trace is not None:
                    trace.decision = decision
                decisions.append(decision)
                output.work.append(partial(self.gates[str(layer)].flops, rows.count))
                rows, gain = _remaining(rows, decision, cache)
        if self.gates:
            output.depth = self._depth(layer_rows, tokens)
        update_memory(traces, output)
        output.penalty = self._exit_penalty(decisions, tokens.numel())
        if self.training:
            output.statistics = self._statistics(traces, cache, output)
        if diagnose:
            output.diagnostics = self._diagnostics(traces, tokens)
        return Hidden(x, output)

    @property
    def decodes_statically(self) -> bool:
        """See :class:`LanguageModel`: with neighbours that the fused path chooses, or none; and not where a
        streaming bank follows the tokens that have not left."""
        searches = (a for a in (block.attention for block in self.blocks) if a.routed and a.builds_graph)
        fused = all(a.chooser.impl(a.heads.query.weight) == "fused" for a in searches)
        return fused and not (self.config.stream_memory and self.config.exits)

    def _decide(self, layer: int, tokens: Tensor, states: Tensor, rows: Rows) -> Decision:
        impose = self.training and str(layer) in self.keep and self.config.exit_objective != "learned"
        keep = round(self.keep[str(layer)] * tokens.shape[1]) if impose else None
        key = rows.positions * self.config.n_layers + layer
        if self.config.exit_gate == "random":
            key = key * self.config.vocab_size + rows.take(tokens.flatten())
        return self.gates[str(layer)](states, key, keep, len(tokens))

    def _open_memory(
        self, cache: Cache
    ) -> tuple[Tensor | None, Callable[[list[LayerTrace], TMTOutput], None]]:
        """(1 or B, M, D) anchors to read, and what to do for a streaming bank once the layers have run."""
        memory = self.memory
        if memory is None:
            return None, lambda traces, output: None
        count, total = memory.count[None], memory.total[None]
        if not (self.config.stream_memory and cache.keep and not self.training):
            return memory.read(count, total), lambda traces, output: None
        batch = len(cache.past)
        count, put_count = cache.carried(count.expand(batch, -1).clone())
        total, put_total = cache.carried(total.expand(batch, -1, -1).clone())

        def update(traces: list[LayerTrace], output: TMTOutput) -> None:
            new = self._memory_use(traces, cache, output, per_row=True)
            new_count, new_total = memory.blend(count, total, *new)
            put_count(new_count)
            put_total(new_total)

        return memory.read(count, total), update

    @torch.no_grad()
    def memory_use(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Counts (M,) and sums (M, D) of sequences (B, T) that attend to the anchors, over all layers.

        :meth:`MemoryAnchors.blend` takes them.
        """
        cache = Cache(tokens, None, None, keep=False)
        output = cast("TMTOutput", self.trunk(tokens, cache, diagnose=True, last_only=False).output)
        return self._memory_use(output.traces, cache, output)

    def _memory_use(
        self, traces: list[LayerTrace], cache: Cache, output: TMTOutput, per_row: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Counts (…, M) and sums (…, M, D) of the tokens that attended to the anchors, over all layers."""
        collected = []
        for trace in traces:
            rows, weights, states = trace.rows, trace.mesh.anchor_weights, trace.states
            if weights is None:
                continue
            if per_row:
                real = rows.positions < rows.take(
                    (cache.past + cache.new)[:, None].expand_as(cache.positions).flatten()
                )
                weights, states = rows.pack(weights * real[:, None]), rows.pack(states)
            collected.append(MemoryAnchors.collect(weights, states))
            output.work.append(partial(MemoryAnchors.flops, weights.numel(), self.config.d_model))
        counts, totals = zip(*collected, strict=True)
        return torch.stack(counts).sum(0), torch.stack(totals).sum(0)

    @staticmethod
    def _depth(layer_rows: list[Rows], tokens: Tensor) -> Tensor:
        depth = torch.zeros_like(tokens).flatten()
        for rows in layer_rows:
            depth = rows.put(depth, rows.take(depth) + 1)
        return depth.view_as(tokens)

    def layers_of(self, depth: Tensor) -> Tensor:
        """See :class:`LanguageModel`: the last layers run for every token."""
        last = torch.arange(self.config.n_layers, device=depth.device) >= self.landing
        return last | super().layers_of(depth - self.config.landing_layers)

    def _extra_window(self) -> int:
        """Tokens by which the window is wider than configured while annealing from dense to sparse."""
        if not (self.training and self.config.anneal_steps):
            return 0
        left = max(0.0, 1 - int(self.steps) / self.config.anneal_steps)
        return round(left * (self.config.max_seq_len - self.config.local_window))

    def _exit_penalty(self, decisions: list[Decision], tokens: int) -> Tensor | None:
        if not decisions:
            return None
        if self.config.exit_objective == "entropy":
            return binary_entropy(torch.cat([d.confidence for d in decisions]))
        if self.config.exit_objective == "learned":
            fixed = self.config.n_layers - len(decisions)
            soft = torch.cat([d.soft_stay for d in decisions if d.soft_stay is not None]).sum() / tokens
            return depth_penalty((fixed + soft) / self.config.n_layers, self.config.target_depth)
        return None

    @torch.no_grad()
    def _statistics(self, traces: list[LayerTrace], cache: Cache, output: TMTOutput) -> dict[str, Tensor]:
        statistics = {}
        for layer, trace in enumerate(traces):
            if trace.decision is not None and trace.decision.boundary is not None:
                boundary = trace.decision.boundary
                statistics[f"exit.{layer}"] = torch.stack([boundary, torch.ones_like(boundary)])
        if self.memory is not None:
            statistics["memory.count"], statistics["memory.total"] = self._memory_use(traces, cache, output)
        return statistics

    @torch.no_grad()
    def after_step(self, statistics: dict[str, Tensor]) -> None:
        """Move exit thresholds and memory anchors; see :class:`LanguageModel`."""
        self.steps += 1
        for name, gate in self.gates.items():
            if f"exit.{name}" in statistics:
                total, count = statistics[f"exit.{name}"]
                gate.follow(total / count)
        if self.memory is not None and "memory.count" in statistics:
            self.memory.update(statistics["memory.count"], statistics["memory.total"])

    @torch.no_grad()
    def figures(self) -> dict[str, float]:
        """See :class:`LanguageModel`."""
        if self.memory is None:
            return {}
        return {"memory_rank": self.memory.effective_rank(), "memory_usage": self.memory.usage()}

    def ops(self) -> dict[str, str]:
        """See :class:`LanguageModel`."""
        return {**super().ops(), **self.blocks[-1].attention.ops()}

    def flops(self, length: int, extra_window: int = 0) -> float:
        """See :class:`LanguageModel`: the same model without exits, with a wider window if need be."""
        positions = torch.arange(length)[None]
        banks = (1, self.config.memory_anchors)
        blocks = sum(b.flops(positions, length, length, banks, extra_window) for b in self.blocks)
        return blocks + self.head_flops(length)

    def notices(self, length: int) -> list[str]:
        """See :class:`LanguageModel`: what the steps cost whose window is not yet the configured one."""
        config, left = self.config, self.config.anneal_steps - int(self.steps)
        if left <= 0:
            return []
        extra = config.max_seq_len - config.local_window
        ratio = self.flops(length, extra) / self.flops(length)
        return [
            f"anneal_steps={config.anneal_steps}: the window shrinks from {config.max_seq_len} to "
            f"{config.local_window} tokens; until then a step takes up to {ratio:.1f} times the operations"
        ]

    def _diagnostics(self, traces: list[LayerTrace], tokens: Tensor) -> Diagnostics:
        mesh = [layer for layer in range(len(traces)) if layer not in self.config.dense_layers]
        anchors = None if self.memory is None else self.memory.anchors()
        return Diagnostics(tokens, traces, mesh[-1] if mesh else -1, anchors, self.blocks[-1].channel_decay)


def _remaining(rows: Rows, decision: Decision, cache: Cache) -> tuple[Rows, Tensor | None]:
    """The rows that stay, and the factors (n,) on their next update."""
    if cache.fixed:
        return rows.mask(decision.stay), decision.gain
    gain = None if decision.gain is None else decision.gain.index_select(0, decision.kept)
    return rows.keep(decision.kept, decision.each), gain


def _saved_by_batch(
    block: TMTBlock, rows: Rows, shapes: tuple[Tensor, int, int, tuple[int, int], int]
) -> float:
    """Operations of a layer that every sequence by itself would take more than the batch does."""
    return block.flops_alone(rows, *shapes[3:]) - block.flops(*shapes)
