/* Mesh attention on the CPU, forward and backward; the formulas are those of reference.py.

   Compiled for one head width (WIDTH) and one type of q, k, v (BF16: bfloat16, else float32); all sums
   are in float32. Letters as in reference.py; tensors are contiguous but for the batch strides given.
   Work is cut into pieces that do not depend on the number of threads, so neither do the results. */
#pragma once
#include <stdlib.h>
#include "element.h"

/* One head is CHUNKS vectors, the last one partly filled where WIDTH is no multiple of LANES. */
enum { CHUNKS = (WIDTH + LANES - 1) / LANES, TAIL = WIDTH % LANES };

static inline int chunk_size(int chunk) { return TAIL && chunk == CHUNKS - 1 ? TAIL : LANES; }
static inline vec load_chunk(const element *head, int chunk) {
    return load_first(head + chunk * LANES, chunk_size(chunk));
}
static inline void store_chunk(element *head, int chunk, vec x) {
    store_first(head + chunk * LANES, x, chunk_size(chunk));
}

/* What both directions read; absent parts are NULL. `anchor_stride` is 0 where all rows share a bank. */
typedef struct {
    int64_t batch, queries, keys, heads, slots, routing, anchors, window;
    int64_t k_stride, v_stride, similarity_stride, forget_stride, anchor_stride;
    const element *q, *k, *v;
    const int64_t *positions;
    const int32_t *neighbours;
    const float *similarity_q, *similarity_k, *gain, *forget_q, *forget_k, *decay_rate;
    const float *anchor_scores;
    const element *anchor_v;
} mesh;

/* The edges of one query: keys, then anchors; per head its scores and their use, padded to vectors. */
typedef struct {
    long row, query, position; /* batch row b, column t, place in the sequence */
    long kept, total, stride;  /* keys; keys and anchors; the same padded */
    int32_t *key, *slot;       /* of every kept key: its position; its column in the table of edges */
    const element **k, **v;    /* rows (H, E) of every key and every edge, the first one's behind the last */
    float *similarity, *distance, *score, *product;
    vec *query_vec, *output_vec, *gradient_vec; /* (H, CHUNKS) */
} edges;

static inline long edge_columns(const mesh *m) { return m->window + m->slots; }

static inline vec *open_vectors(long count) { return aligned_alloc(64, (count * sizeof(vec) + 63) / 64 * 64); }

static inline edges open_edges(const mesh *m) {
    long stride = round_up(edge_columns(m) + m->anchors), heads = m->heads;
    edges e = {.stride = stride};
    e.key = malloc(2 * stride * sizeof *e.key);
    e.slot = e.key + stride;
    e.k = malloc(2 * stride * sizeof *e.k);
    e.v = e.k + stride;
    e.similarity = calloc((2 + 2 * heads) * stride, sizeof *e.similarity);
    e.distance = e.similarity + stride;
    e.score = e.distance + stride;
    e.product = e.score + heads * stride;
    e.query_vec = open_vectors(3 * heads * CHUNKS);
    e.output_vec = e.query_vec + heads * CHUNKS;
    e.gradient_vec = e.output_vec + heads * CHUNKS;
    return e;
}

static inline void close_edges(edges *e) {
    free(e->key);
    free(e->k);
    free(e->similarity);
    free(e->query_vec);
}

static inline long row_of(const mesh *m, const edges *e) { return e->row * m->queries + e->query; }

static inline void add_key(const mesh *m, edges *e, long key, long slot) {
    int64_t at = key * m->heads * WIDTH;
    e->key[e->kept] = key;
    e->slot[e->kept] = slot;
    e->k[e->kept] = m->k + e->row * m->k_stride + at;
    e->v[e->kept++] = m->v + e->row * m->v_stride + at;
}

static inline void measure_similarity(const mesh *m, edges *e) {
    const float *q = m->similarity_q + row_of(m, e) * m->routing;
    for (long edge = 0; edge < e->kept; edge++) {
        const float *k = m->similarity_k + e->row * m->similarity_stride + e->key[edge] * m->routing;
        vec total = {};
        long r = 0;
        for (; r + LANES <= m->routing; r += LANES) total += load(q + r) * load(k + r);
        if (r < m->routing) total += load_part(q + r, m->routing - r) * load_part(k + r, m->routing - r);
        e->similarity[edge] = sum(total);
    }
}

/* The kept keys of a query, how far away and how similar they are, and the anchors. */
static inline void find_edges(const mesh *m, edges *e, long row, long query) {
    e->row = row, e->query = query, e->kept = 0;
    e->position = m->positions[row_of(m, e)];
    for (long key = most(0, e->position - m->window + 1); key <= e->position; key++)
        add_key(m, e, key, e->position - key);
    for (long column = 0; column < m->slots; column++) {
        long key = m->neighbours[row_of(m, e) * m->slots + column];
        if (key >= 0) add_key(m, e, key, m->window + column);
    }
    e->total = e->kept + m->anchors;
    for (long edge = e->kept; edge < e->total; edge++) {
        e->v[edge] = m->anchor_v + row * m->anchor_stride + (edge - e->kept) * m->heads * WIDTH;
    }
    for (long edge = e->kept; edge < e->stride; edge++) e->k[edge] = e->k[0];
    for (long edge = e->total; edge < e->stride; edge++) e->v[edge] = e->v[0];
    for (long edge = 0; edge < e->stride; edge++) {
        e->distance[edge] = edge < e->kept ? e->position - e->key[edge] : 0;
        e->similarity[edge] = 0;
    }
    if (m->similarity_k) measure_similarity(m, e);
}

static inline void load_heads(vec *target, const element *rows, long heads, float factor) {
    for (long head = 0; head < heads; head++)
        for (int c = 0; c < CHUNKS; c++)
            target[head * CHUNKS + c] = load_chunk(rows + head * WIDTH, c) * factor;
}

/* scores[h][edge] = vectors[h] · rows[edge][h] of the first `count` edges, 0 behind them */
static inline void multiply(const mesh *m, const edges *e, const vec *vectors, const element **rows, long count,
                            float *scores) {
    for (long first = 0; first < count; first += LANES)
        for (long head = 0; head < m->heads; head++) {
            vec totals[LANES];
            for (int lane = 0; lane < LANES; lane++) {
                const element *row = rows[first + lane] + head * WIDTH;
                totals[lane] = vectors[head * CHUNKS] * load_chunk(row, 0);
                for (int c = 1; c < CHUNKS; c++)
                    totals[lane] += vectors[head * CHUNKS + c] * load_chunk(row, c);
            }
            store(scores + head * e->stride + first, sums(totals));
        }
    for (long head = 0; head < m->heads; head++)
        for (long edge = count; edge < e->stride; edge++) scores[head * e->stride + edge] = 0;
}

/* target[h] = factor · Σ weights[h][edge] rows[edge][h] over the first `count` edges */
static inline void mix(const mesh *m, const edges *e, const float *weights, const element **rows, long count,
                       float factor, element *target) {
    for (long head = 0; head < m->heads; head++) {
        vec total[CHUNKS] = {};
        for (long edge = 0; edge < count; edge++)
            for (int c = 0; c < CHUNKS; c++)
                total[c] += weights[head * e->stride + edge] * load_chunk(rows[edge] + head * WIDTH, c);
        for (int c = 0; c < CHUNKS; c++) store_chunk(target + head * WIDTH, c, total[c] * factor);
    }
}

/* Logits of one query in `score`: biases added, −∞ behind the last edge. */
static inline void score_edges(const mesh *m, edges *e) {
    load_heads(e->query_vec, m->q + row_of(m, e) * m->heads * WIDTH, m->heads, 1 / sqrtf(WIDTH));
    multiply(m, e, e->query_vec, e->k, e->kept, e->score);
    for (long head = 0; head < m->heads; head++) {
        float *score = e->score + head * e->stride;
        const float *anchor_scores = m->anchor_scores + (row_of(m, e) * m->heads + head) * m->anchors;
        for (long anchor = 0; anchor < m->anchors; anchor++) score[e->kept + anchor] = anchor_scores[anchor];
        for (long edge = 0; m->similarity_k && edge < e->kept; edge++)
            score[edge] += m->gain[head] * e->similarity[edge];
        for (long edge = e->total; edge < e->stride; edge++) score[edge] = -INFINITY;
    }
    if (!m->forget_k) return;
    const float *heard = m->forget_q + row_of(m, e) * m->heads;
    for (long edge = 0; edge < e->kept; edge++) {
        const float *said = m->forget_k + e->row * m->forget_stride + e->key[edge] * m->heads;
        for (long head = 0; head < m->heads; head++)
            e->score[head * e->stride + edge] += heard[head] - said[head];
    }
}

/* 2σ(−rate·distance) of LANES edges; anchors stand at distance 0. */
static inline vec decay_factor(const mesh *m, const edges *e, long head, long edge) {
    if (!m->decay_rate) return splat(1);
    vec exponent = load(e->distance + edge) * m->decay_rate[head];
    return 2 / (1 + exponential(smaller(exponent, splat(87.0f))));
}
