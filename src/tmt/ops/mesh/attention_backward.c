/* Two passes: over queries (their gradients, and those of every edge), then over keys, each of which sums
   over the edges that lead to it in the order of their queries. */
#include "attention.h"

/* Sums over a piece of queries, added up by the caller in the order of the pieces. Heads are padded to
   ROOM vectors: anchor_v (M, H, ROOM·LANES), gain and decay_rate (H). */
enum { ROOM = (WIDTH + 15) / 16 * (16 / LANES) };

typedef struct {
    vec *anchor_v;
    float *gain, *decay_rate;
} partial_sums;

static partial_sums partial_of(const mesh *m, float *partials, long piece) {
    long bank = m->anchors * m->heads * ROOM * LANES, size = bank + 2 * m->heads;
    float *start = partials + piece * size;
    memset(start, 0, size * sizeof *start);
    return (partial_sums){(vec *)start, start + bank, start + bank + m->heads};
}

/* Replaces the logits of a head by the weights of the values, and their products by the logits' gradients. */
static void differentiate_softmax(const mesh *m, edges *e, long head, float log_sum, const element *output,
                                  partial_sums *partial) {
    float *score = e->score + head * e->stride, *product = e->product + head * e->stride;
    vec mean = {}, rate = {}, gain = {};
    for (int c = 0; c < CHUNKS; c++)
        mean += e->output_vec[head * CHUNKS + c] * load_chunk(output + head * WIDTH, c);
    float expected = sum(mean);
    for (long edge = 0; edge < e->stride; edge += LANES) {
        vec weight = exponential(load(score + edge) - log_sum), factor = decay_factor(m, e, head, edge);
        vec worth = weight * factor * load(product + edge), gradient = worth - weight * expected;
        rate -= worth * load(e->distance + edge) * (1 - factor / 2);
        gain += gradient * load(e->similarity + edge);
        store(score + edge, weight * factor);
        store(product + edge, gradient);
    }
    partial->gain[head] += sum(gain);
    partial->decay_rate[head] += sum(rate);
}

/* Σ over the keys of what each adds to the similarity's gradient: `pull`[edge] times its routing vector. */
static void similarity_gradient(const mesh *m, const edges *e, const float *pull, float *grad_similarity_q) {
    memset(grad_similarity_q, 0, m->routing * sizeof *grad_similarity_q);
    for (long edge = 0; edge < e->kept; edge++) {
        const float *k = m->similarity_k + e->row * m->similarity_stride + e->key[edge] * m->routing;
        for (long r = 0; r < m->routing; r++) grad_similarity_q[r] += pull[edge] * k[r];
    }
}

/* grad_anchor_scores (H, M) of the query. */
static void anchor_gradients(const mesh *m, const edges *e, partial_sums *partial, float *grad_anchor_scores) {
    for (long anchor = 0; anchor < m->anchors; anchor++)
        for (long head = 0; head < m->heads; head++) {
            long at = head * e->stride + e->kept + anchor;
            grad_anchor_scores[head * m->anchors + anchor] = e->product[at];
            for (int c = 0; c < CHUNKS; c++)
                partial->anchor_v[(anchor * m->heads + head) * ROOM + c] +=
                    e->score[at] * e->output_vec[head * CHUNKS + c];
        }
}

/* What the pass over keys reads of an edge: the logit's gradient and the value's weight by head, then the
   similarity's gradient. */
static inline long record_size(const mesh *m) { return 2 * m->heads + 1; }

/* Writes the records of the columns that hold an edge; the others are not touched. Returns in `distance`,
   which is done with, the gradients of the similarities. */
static const float *keep_edges(const mesh *m, edges *e, float *records) {
    float *pull = e->distance;
    for (long edge = 0; edge < e->kept; edge++) {
        float *record = records + e->slot[edge] * record_size(m), total = 0;
        for (long head = 0; head < m->heads; head++) {
            float gradient = e->product[head * e->stride + edge];
            record[head] = gradient;
            record[m->heads + head] = e->score[head * e->stride + edge];
            if (m->similarity_k) total += m->gain[head] * gradient;
        }
        record[2 * m->heads] = pull[edge] = total;
    }
    return pull;
}

/* Gradients of what queries read; records (B, T, window + slots, 2H + 1); partials, one for each piece of
   each batch row: see partial_sums. */
void backward_queries(const mesh *m, const element *grad_output, const element *output, const float *log_sum,
                      element *grad_q, float *grad_similarity_q, float *grad_forget_q, float *grad_anchor_scores,
                      float *records, float *partials, int threads) {
    long pieces = (m->queries + PIECE - 1) / PIECE, size = edge_columns(m) * record_size(m), heads = m->heads;
#pragma omp parallel num_threads(threads)
    {
        edges e = open_edges(m);
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < m->batch * pieces; piece++) {
            long row = piece / pieces, first = piece % pieces * PIECE;
            partial_sums partial = partial_of(m, partials, piece);
            for (long query = first; query < least(first + PIECE, m->queries); query++) {
                find_edges(m, &e, row, query);
                score_edges(m, &e);
                long at = row_of(m, &e);
                load_heads(e.output_vec, grad_output + at * heads * WIDTH, heads, 1);
                multiply(m, &e, e.output_vec, e.v, e.total, e.product);
                for (long head = 0; head < heads; head++)
                    differentiate_softmax(m, &e, head, log_sum[at * heads + head],
                                          output + at * heads * WIDTH, &partial);
                mix(m, &e, e.product, e.k, e.kept, 1 / sqrtf(WIDTH), grad_q + at * heads * WIDTH);
                anchor_gradients(m, &e, &partial, grad_anchor_scores + at * heads * m->anchors);
                const float *pull = keep_edges(m, &e, records + at * size);
                if (m->similarity_k) similarity_gradient(m, &e, pull, grad_similarity_q + at * m->routing);
                for (long head = 0; m->forget_k && head < heads; head++)
                    grad_forget_q[at * heads + head] = sum_of(e.product + head * e.stride, e.kept);
            }
        }
        close_edges(&e);
    }
}

/* Edges that lead to each key over the graph, by query: start (B, S + 1), edge (B, T · slots) = t·slots + column. */
static void list_incoming(const mesh *m, int32_t *start, int32_t *edge, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < m->batch; row++) {
        long count = m->queries * m->slots;
        const int32_t *target = m->neighbours + row * count;
        int32_t *first = start + row * (m->keys + 1), *list = edge + row * count;
        memset(first, 0, (m->keys + 1) * sizeof *first);
        for (long i = 0; i < count; i++)
            if (target[i] >= 0) first[target[i] + 1]++;
        for (long key = 0; key < m->keys; key++) first[key + 1] += first[key];
        for (long i = 0; i < count; i++)
            if (target[i] >= 0) list[first[target[i]]++] = i;
        for (long key = m->keys; key > 0; key--) first[key] = first[key - 1];
        first[0] = 0;
    }
}

/* First column of a row whose query stands at `position` or later. */
static long first_at(const mesh *m, long row, long position) {
    const int64_t *positions = m->positions + row * m->queries;
    long low = 0, high = m->queries;
    while (low < high) {
        long middle = (low + high) / 2;
        if (positions[middle] < position) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Edges that lead to one key, a handful at a time: the rows (H, E) of their queries, their records. */
enum { HANDFUL = 32 };
typedef struct {
    long count;
    const element *q[HANDFUL], *grad_output[HANDFUL];
    const float *similarity[HANDFUL], *record[HANDFUL];
} incoming;

typedef struct {
    const element *grad_output;
    const float *records;
    float *similarity, *forget; /* gradients of the key's (R) and (H) */
    vec *k, *v;                 /* sums of (H, CHUNKS) */
} key_sums;

static void add_edges(const mesh *m, key_sums *sums, incoming *in) {
    for (long head = 0; head < m->heads; head++) {
        vec k[CHUNKS], v[CHUNKS];
        memcpy(k, sums->k + head * CHUNKS, sizeof k);
        memcpy(v, sums->v + head * CHUNKS, sizeof v);
        for (long i = 0; i < in->count; i++)
            for (int c = 0; c < CHUNKS; c++) {
                k[c] += in->record[i][head] * load_chunk(in->q[i] + head * WIDTH, c);
                v[c] += in->record[i][m->heads + head] * load_chunk(in->grad_output[i] + head * WIDTH, c);
            }
        memcpy(sums->k + head * CHUNKS, k, sizeof k);
        memcpy(sums->v + head * CHUNKS, v, sizeof v);
    }
    for (long i = 0; m->forget_k && i < in->count; i++)
        for (long head = 0; head < m->heads; head++) sums->forget[head] -= in->record[i][head];
    for (long i = 0; m->similarity_k && i < in->count; i++)
        for (long r = 0; r < m->routing; r++)
            sums->similarity[r] += in->record[i][2 * m->heads] * in->similarity[i][r];
    in->count = 0;
}

/* Takes up the edge in `column` of query t. */
static void meet_edge(const mesh *m, key_sums *sums, incoming *in, long row, long query, long column) {
    long at = row * m->queries + query, i = in->count++;
    in->q[i] = m->q + at * m->heads * WIDTH;
    in->grad_output[i] = sums->grad_output + at * m->heads * WIDTH;
    in->similarity[i] = m->similarity_k ? m->similarity_q + at * m->routing : NULL;
    in->record[i] = sums->records + (at * edge_columns(m) + column) * record_size(m);
    if (in->count == HANDFUL) add_edges(m, sums, in);
}

/* Gradients of what keys hold, each of its tensor's shape; `start` and `list` are scratch. */
void backward_keys(const mesh *m, const element *grad_output, const float *records, int32_t *start,
                   int32_t *list, element *grad_k, element *grad_v, float *grad_similarity_k,
                   float *grad_forget_k, int threads) {
    long pieces = (m->keys + PIECE - 1) / PIECE, size = m->heads * CHUNKS;
    if (m->slots) list_incoming(m, start, list, threads);
#pragma omp parallel num_threads(threads)
    {
        key_sums sums = {grad_output, records};
        sums.k = open_vectors(2 * size), sums.v = sums.k + size;
        incoming in = {0};
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < m->batch * pieces; piece++) {
            long row = piece / pieces, first = piece % pieces * PIECE;
            for (long key = first; key < least(first + PIECE, m->keys); key++) {
                long at = row * m->keys + key, end = first_at(m, row, key + m->window);
                memset(sums.k, 0, 2 * size * sizeof(vec));
                if (m->similarity_k) {
                    sums.similarity = grad_similarity_k + at * m->routing;
                    memset(sums.similarity, 0, m->routing * sizeof(float));
                }
                if (m->forget_k) {
                    sums.forget = grad_forget_k + at * m->heads;
                    memset(sums.forget, 0, m->heads * sizeof(float));
                }
                for (long query = first_at(m, row, key); query < end; query++)
                    meet_edge(m, &sums, &in, row, query, m->positions[row * m->queries + query] - key);
                const int32_t *edge = list + row * m->queries * m->slots;
                const int32_t *bound = start + row * (m->keys + 1) + key;
                for (long i = m->slots ? bound[0] : 0; m->slots && i < bound[1]; i++)
                    meet_edge(m, &sums, &in, row, edge[i] / m->slots, m->window + edge[i] % m->slots);
                add_edges(m, &sums, &in);
                for (long chunk = 0; chunk < size; chunk++) {
                    long head = (at * m->heads + chunk / CHUNKS) * WIDTH;
                    store_chunk(grad_k + head, chunk % CHUNKS, sums.k[chunk] / sqrtf(WIDTH));
                    store_chunk(grad_v + head, chunk % CHUNKS, sums.v[chunk]);
                }
            }
        }
        free(sums.k);
    }
}
