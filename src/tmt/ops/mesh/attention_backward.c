/* Two passes: over queries (their gradients, and those of every edge), then over keys, each of which sums
   over the edges that lead to it in the order of their queries. */
#include "attention.h"

/* Sums over a piece of queries, added up by the caller in the order of the pieces. Heads are padded to
   CHUNKS vectors: anchor_k and anchor_v (M, H, 16·CHUNKS), gain and decay_rate (H). */
typedef struct {
    vec *anchor_k, *anchor_v;
    float *gain, *decay_rate;
} partial_sums;

static partial_sums partial_of(const mesh *m, float *partials, long piece) {
    long bank = m->anchors * m->heads * CHUNKS * LANES, size = 2 * bank + 2 * m->heads;
    float *start = partials + piece * size;
    memset(start, 0, size * sizeof *start);
    return (partial_sums){(vec *)start, (vec *)(start + bank), start + 2 * bank, start + 2 * bank + m->heads};
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

static void query_gradient(const mesh *m, const edges *e, element *grad_q) {
    memset(e->gradient_vec, 0, m->heads * CHUNKS * sizeof(vec));
    for (long edge = 0; edge < e->total; edge++) {
        const element *heads = key_row(m, e, edge);
        for (long head = 0; head < m->heads; head++)
            for (int c = 0; c < CHUNKS; c++)
                e->gradient_vec[head * CHUNKS + c] +=
                    e->product[head * e->stride + edge] * load_chunk(heads + head * WIDTH, c);
    }
    for (long head = 0; head < m->heads; head++)
        for (int c = 0; c < CHUNKS; c++)
            store_chunk(grad_q + head * WIDTH, c, e->gradient_vec[head * CHUNKS + c] / sqrtf(WIDTH));
}

static void bias_gradients(const mesh *m, const edges *e, float *grad_similarity_q, float *grad_forget_q) {
    if (m->similarity_k) memset(grad_similarity_q, 0, m->routing * sizeof *grad_similarity_q);
    for (long edge = 0; m->similarity_k && edge < e->kept; edge++) {
        const float *k = m->similarity_k + e->row * m->similarity_stride + e->key[edge] * m->routing;
        float weight = 0;
        for (long head = 0; head < m->heads; head++)
            weight += m->gain[head] * e->product[head * e->stride + edge];
        for (long r = 0; r < m->routing; r++) grad_similarity_q[r] += weight * k[r];
    }
    for (long head = 0; m->forget_k && head < m->heads; head++) {
        grad_forget_q[head] = 0;
        for (long edge = 0; edge < e->kept; edge++)
            grad_forget_q[head] += e->product[head * e->stride + edge];
    }
}

static void anchor_gradients(const mesh *m, const edges *e, partial_sums *partial) {
    for (long anchor = 0; anchor < m->anchors; anchor++)
        for (long head = 0; head < m->heads; head++) {
            long at = head * e->stride + e->kept + anchor;
            for (int c = 0; c < CHUNKS; c++) {
                long bank = (anchor * m->heads + head) * CHUNKS + c;
                partial->anchor_k[bank] += e->product[at] * e->query_vec[head * CHUNKS + c];
                partial->anchor_v[bank] += e->score[at] * e->output_vec[head * CHUNKS + c];
            }
        }
}

/* edge_weight, edge_gradient (H) of every column that holds an edge; the others are not touched. */
static void keep_edges(const mesh *m, const edges *e, float *edge_weight, float *edge_gradient) {
    for (long edge = 0; edge < e->kept; edge++)
        for (long head = 0; head < m->heads; head++) {
            edge_weight[e->slot[edge] * m->heads + head] = e->score[head * e->stride + edge];
            edge_gradient[e->slot[edge] * m->heads + head] = e->product[head * e->stride + edge];
        }
}

/* Gradients of what queries read; edge tables (B, T, window + slots, H); partials, one for each piece of
   each batch row: see partial_sums. */
void backward_queries(const mesh *m, const element *grad_output, const element *output, const float *log_sum,
                      element *grad_q, float *grad_similarity_q, float *grad_forget_q, float *edge_weight,
                      float *edge_gradient, float *partials, int threads) {
    long pieces = (m->queries + PIECE - 1) / PIECE, columns = edge_columns(m), heads = m->heads;
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
                multiply(m, &e, e.output_vec, e.product, value_row);
                for (long head = 0; head < heads; head++)
                    differentiate_softmax(m, &e, head, log_sum[at * heads + head],
                                          output + at * heads * WIDTH, &partial);
                query_gradient(m, &e, grad_q + at * heads * WIDTH);
                bias_gradients(m, &e, grad_similarity_q + at * m->routing, grad_forget_q + at * heads);
                anchor_gradients(m, &e, &partial);
                keep_edges(m, &e, edge_weight + at * columns * heads, edge_gradient + at * columns * heads);
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
        const int64_t *target = m->neighbours + row * count;
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

typedef struct {
    const element *grad_output;
    const float *edge_weight, *edge_gradient;
    element *grad_k, *grad_v;
    float *grad_similarity_k, *grad_forget_k;
} key_pass;

/* Adds what the edge in `column` of query t gives to its key. */
static void add_edge(const mesh *m, const key_pass *p, long row, long query, long column, long key, vec *grad_k,
                     vec *grad_v) {
    long at = row * m->queries + query, edge = (at * edge_columns(m) + column) * m->heads;
    const float *weight = p->edge_weight + edge, *gradient = p->edge_gradient + edge;
    const element *q = m->q + at * m->heads * WIDTH, *g = p->grad_output + at * m->heads * WIDTH;
    for (long head = 0; head < m->heads; head++)
        for (int c = 0; c < CHUNKS; c++) {
            grad_k[head * CHUNKS + c] += gradient[head] * load_chunk(q + head * WIDTH, c);
            grad_v[head * CHUNKS + c] += weight[head] * load_chunk(g + head * WIDTH, c);
        }
    if (m->similarity_k) {
        const float *similar = m->similarity_q + at * m->routing;
        float total = 0, *target = p->grad_similarity_k + (row * m->keys + key) * m->routing;
        for (long head = 0; head < m->heads; head++) total += m->gain[head] * gradient[head];
        for (long r = 0; r < m->routing; r++) target[r] += total * similar[r];
    }
    if (m->forget_k) {
        float *target = p->grad_forget_k + (row * m->keys + key) * m->heads;
        for (long head = 0; head < m->heads; head++) target[head] -= gradient[head];
    }
}

/* Gradients of what keys hold, each of its tensor's shape; `start` and `incoming` are scratch. */
void backward_keys(const mesh *m, const element *grad_output, const float *edge_weight,
                   const float *edge_gradient, int32_t *start, int32_t *incoming, element *grad_k,
                   element *grad_v, float *grad_similarity_k, float *grad_forget_k, int threads) {
    key_pass pass = {grad_output, edge_weight, edge_gradient, grad_k, grad_v, grad_similarity_k, grad_forget_k};
    long pieces = (m->keys + PIECE - 1) / PIECE, size = m->heads * CHUNKS;
    if (m->slots) list_incoming(m, start, incoming, threads);
#pragma omp parallel num_threads(threads)
    {
        vec *sum_k = aligned_alloc(64, 2 * size * sizeof(vec)), *sum_v = sum_k + size;
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < m->batch * pieces; piece++) {
            long row = piece / pieces, first = piece % pieces * PIECE;
            for (long key = first; key < least(first + PIECE, m->keys); key++) {
                long at = row * m->keys + key;
                memset(sum_k, 0, 2 * size * sizeof(vec));
                if (m->similarity_k) memset(grad_similarity_k + at * m->routing, 0, m->routing * sizeof(float));
                if (m->forget_k) memset(grad_forget_k + at * m->heads, 0, m->heads * sizeof(float));
                long end = first_at(m, row, key + m->window);
                for (long query = first_at(m, row, key); query < end; query++) {
                    long distance = m->positions[row * m->queries + query] - key;
                    add_edge(m, &pass, row, query, distance, key, sum_k, sum_v);
                }
                const int32_t *list = incoming + row * m->queries * m->slots;
                const int32_t *bound = start + row * (m->keys + 1) + key;
                for (long i = m->slots ? bound[0] : 0; m->slots && i < bound[1]; i++)
                    add_edge(m, &pass, row, list[i] / m->slots, m->window + list[i] % m->slots, key, sum_k, sum_v);
                for (long head = 0; head < m->heads; head++)
                    for (int c = 0; c < CHUNKS; c++) {
                        long chunk = head * CHUNKS + c;
                        store_chunk(grad_k + (at * m->heads + head) * WIDTH, c, sum_k[chunk] / sqrtf(WIDTH));
                        store_chunk(grad_v + (at * m->heads + head) * WIDTH, c, sum_v[chunk]);
                    }
            }
        }
        free(sum_k);
    }
}
