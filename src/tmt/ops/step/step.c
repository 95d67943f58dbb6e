/* One token of one row through one layer, in float32: where weights are read at the speed of memory, decoding
   waits for the number of calls. The parts are those of the other operations, included here; what differs is
   that nothing in between becomes a tensor. */
#define forward attend
#include "../mesh/attention_forward.c"
#undef forward
#define forward gated_gelu
#define backward gated_gelu_gradient
#include "../gelu/gelu.c"
#undef forward
#undef backward
#define forward gated_silu
#define backward gated_silu_gradient
#include "../swiglu/swiglu.c"
#undef forward
#undef backward
#include "../linear/linear.c"
#include "../mesh/graph.c"

enum { SHARE = 1 << 17 }; /* weights that are worth a thread: reading them takes longer than waking it */

/* A layer's weights as PyTorch keeps them, and what the row remembers, written in place. Parts that an
   architecture lacks are NULL. Sizes: D model width, H heads of E = WIDTH, F hidden units, R routing width,
   K neighbours, M anchors, S = position + 1 tokens. */
typedef struct {
    const float *attention_norm, *query, *key, *value, *output, *query_norm, *key_norm, *ffn_norm;
    const float *route, *gain, *forget_weight, *forget_bias;         /* (R, D); (H); (H, D); (H) */
    const float *ffn_gate, *ffn_inner, *ffn_output;                  /* SwiGLU: (F, D) twice, (D, F) */
    const float *mix, *local_norm, *stream_gate, *stream_gate_bias;  /* two streams: (4, D), (D), (1, D), (1) */
    const float *syntax, *semantics, *syntax_output, *semantics_output; /* (F, D) twice, (D, F) twice */
    int64_t width, heads, hidden, routing;
    int64_t slots, window, k_neighbours, block, k_global, exact_until, successors, builds, rotated_anchors;
    float eps;
    int64_t position, threads, anchors;
    float *x;                                    /* (D) the token's state, advanced in place */
    const float *cosine, *sine, *boost;          /* (E / 2) twice; (1) factor on both updates */
    float *q, *k, *v;                            /* (H, E); (≥ S, H, E) twice */
    float *routing_k, *means;                    /* (≥ S, R); (≥ S / block, R) */
    int32_t *neighbours;                         /* (K) */
    float *forget;                               /* (H) of this token */
    double *forget_total;                        /* (H) so far */
    float *forget_k;                             /* (≥ S, H) */
    const float *decay_rate, *anchor_k, *anchor_v; /* (H); (M, H, E) twice */
    float *tail;                                 /* (3, D) the states before */
} layer;

static void product(const layer *l, const float *x, const float *weight, const float *bias, float *y, long outputs,
                    long width) {
    long pieces = outputs * width / SHARE;
    few_rows(x, weight, bias, y, 1, outputs, width, most(1, least(l->threads, pieces)));
}

/* y = x · factor / sqrt(mean x² + eps) · gain; y may be x. */
static void normalise(const float *x, const float *gain, float factor, float eps, float *y, long width) {
    vec squares = {};
    for (long i = 0; i < width; i += LANES) squares += load(x + i) * load(x + i);
    float scale = factor / sqrtf(sum(squares) / width + eps);
    for (long i = 0; i < width; i += LANES) {
        vec even = load(x + i) * scale;
        if (gain) even *= load(gain + i);
        store(y + i, even);
    }
}

static void normalise_heads(const layer *l, float *heads, const float *gain) {
    for (float *head = heads; head < heads + l->heads * WIDTH; head += WIDTH)
        normalise(head, gain, 1, l->eps, head, WIDTH);
}

/* Turns the pairs (j, j + E / 2) of heads (H, E). */
static void turn(const layer *l, float *heads) {
    for (float *head = heads; head < heads + l->heads * WIDTH; head += WIDTH)
        for (long i = 0; i < WIDTH / 2; i += LANES) {
            vec first = load(head + i), second = load(head + WIDTH / 2 + i);
            vec along = load(l->cosine + i), across = load(l->sine + i);
            store(head + i, first * along - second * across);
            store(head + WIDTH / 2 + i, second * along + first * across);
        }
}

/* scores (H, M) of the queries as they are now. */
static void score_anchors(const layer *l, float *scores) {
    for (long head = 0; head < l->heads; head++)
        for (long anchor = 0; anchor < l->anchors; anchor++) {
            const float *q = l->q + head * WIDTH, *k = l->anchor_k + (anchor * l->heads + head) * WIDTH;
            vec total = {};
            for (long i = 0; i < WIDTH; i += LANES) total += load(q + i) * load(k + i);
            scores[head * l->anchors + anchor] = sum(total) / sqrtf(WIDTH);
        }
}

/* Queries, keys and values of the token; `scores` (H, M) of the anchors. */
static void project(const layer *l, float *normed, float *scores) {
    long d = l->width, at = l->position * d;
    normalise(l->x, l->attention_norm, 1, l->eps, normed, d);
    product(l, normed, l->query, NULL, l->q, d, d);
    product(l, normed, l->key, NULL, l->k + at, d, d);
    product(l, normed, l->value, NULL, l->v + at, d, d);
    normalise_heads(l, l->q, l->query_norm);
    normalise_heads(l, l->k + at, l->key_norm);
    if (!l->rotated_anchors) score_anchors(l, scores);
    turn(l, l->q);
    turn(l, l->k + at);
    if (l->rotated_anchors) score_anchors(l, scores);
}

/* The forget gates of the token, log σ, and their sums up to it. */
static void forget(const layer *l, const float *normed) {
    product(l, normed, l->forget_weight, l->forget_bias, l->forget, l->heads, l->width);
    for (long head = 0; head < l->heads; head++) {
        float z = l->forget[head];
        l->forget[head] = fminf(z, 0) - log1pf(expf(-fabsf(z)));
        l->forget_k[l->position * l->heads + head] = l->forget_total[head] += l->forget[head];
    }
}

/* (H) sums of the gates up to the token, where it has any. */
static float *gates_so_far(const layer *l) {
    return l->forget_k ? l->forget_k + l->position * l->heads : NULL;
}

/* Routing vector and neighbours of the token. */
static void choose_neighbours(const layer *l, const float *normed) {
    float *own = l->routing_k + l->position * l->routing;
    product(l, normed, l->route, NULL, own, l->routing, l->width);
    normalise(own, NULL, 1 / sqrtf(l->routing), 1e-24f, own, l->routing);
    if (!l->builds) return;
    long seen = l->position + 1, blocks = seen / l->block;
    if (seen % l->block == 0)
        block_means(l->routing_k, 0, 1, seen, l->routing, l->block, blocks - 1, 1,
                    l->means + (blocks - 1) * l->routing);
    int64_t earliest = 0;
    if (l->forget_k)
        earliest_audible(gates_so_far(l), l->forget_k, 0, &l->position, 1, 1, l->heads, -20, &earliest);
    search s = {1, 1, seen, l->routing, blocks, 0, 0, l->k_neighbours, l->window, l->block, l->k_global,
                l->exact_until, l->successors, own, l->routing_k, l->means, &l->position, &earliest};
    build_graph(&s, NULL, NULL, l->neighbours, 1);
}

static void add(const layer *l, const float *update) {
    float factor = l->boost ? *l->boost : 1;
    for (long i = 0; i < l->width; i += LANES) store(l->x + i, load(l->x + i) + load(update + i) * factor);
}

static void attend_mesh(const layer *l, const float *scores, float *attended, float *usage) {
    float log_sum[l->heads];
    const float *own = l->routing_k + l->position * l->routing;
    mesh m = {.batch = 1, .queries = 1, .keys = l->position + 1, .heads = l->heads, .slots = l->slots};
    m.routing = l->routing, m.anchors = l->anchors, m.window = least(l->window, m.keys);
    m.q = l->q, m.k = l->k, m.v = l->v, m.positions = &l->position, m.neighbours = l->neighbours;
    m.similarity_q = own, m.similarity_k = l->routing_k, m.gain = l->gain;
    m.forget_q = gates_so_far(l), m.forget_k = l->forget_k, m.decay_rate = l->decay_rate;
    m.anchor_scores = scores, m.anchor_v = l->anchor_v;
    attend(&m, attended, log_sum, usage, 1);
}

/* y += W_out (silu(W_gate x) ⊙ W_in x) */
static void gated_units(const layer *l, const float *x, float *units, float *update) {
    float *gates = units, *values = units + l->hidden;
    product(l, x, l->ffn_gate, NULL, gates, l->hidden, l->width);
    product(l, x, l->ffn_inner, NULL, values, l->hidden, l->width);
    gated_silu(gates, values, gates, l->hidden, 1);
    product(l, gates, l->ffn_output, NULL, update, l->width, l->hidden);
}

/* Two streams: of the state, and of its mix with the three before. `local` (D) is scratch. */
static void two_streams(const layer *l, const float *x, float *units, float *local, float *update) {
    long d = l->width;
    float gate, other, *second = units + l->hidden;
    for (long i = 0; i < d; i += LANES) {
        vec total = load(l->mix + i) * load(l->x + i);
        for (int past = 1; past < 4; past++) total += load(l->mix + past * d + i) * load(l->tail + (3 - past) * d + i);
        store(local + i, total);
    }
    memmove(l->tail, l->tail + d, 2 * d * sizeof *l->tail);
    memcpy(l->tail + 2 * d, l->x, d * sizeof *l->tail);
    normalise(local, l->local_norm, 1, l->eps, local, d);
    product(l, x, l->stream_gate, l->stream_gate_bias, &gate, 1, d);
    gate = 1 / (1 + expf(-gate)), other = 1 - gate;
    product(l, local, l->syntax, NULL, units, l->hidden, d);
    product(l, x, l->semantics, NULL, second, l->hidden, d);
    gated_gelu(units, &gate, units, 1, l->hidden, 1);
    gated_gelu(second, &other, second, 1, l->hidden, 1);
    product(l, units, l->syntax_output, NULL, update, d, l->hidden);
    product(l, second, l->semantics_output, NULL, local, d, l->hidden);
    for (long i = 0; i < d; i += LANES) store(update + i, load(update + i) + load(local + i));
}

/* What follows attention: the way back from `attended` (H, E), and the feed-forward layer. */
static void finish(const layer *l, const float *attended, float *normed, float *scratch) {
    float *update = scratch, *local = update + l->width, *units = local + l->width;
    product(l, attended, l->output, NULL, update, l->width, l->width);
    add(l, update);
    normalise(l->x, l->ffn_norm, 1, l->eps, normed, l->width);
    if (l->syntax) two_streams(l, normed, units, local, update);
    else gated_units(l, normed, units, update);
    add(l, update);
}

static float *open_scratch(const layer *l) {
    return malloc((4 * l->width + 2 * l->hidden + (1 + l->heads) * l->anchors) * sizeof(float));
}

/* A whole layer of the mesh. */
void mesh_layer(const layer *l) {
    float *normed = open_scratch(l), *attended = normed + l->width, *rest = attended + l->width;
    float *scores = rest + l->anchors;
    project(l, normed, scores);
    if (l->forget_k) forget(l, normed);
    choose_neighbours(l, normed);
    attend_mesh(l, scores, attended, rest);
    finish(l, attended, normed, rest);
    free(normed);
}

/* A dense layer, but for its attention: q, k and v of the token; then, with what it attended to, the rest. */
void before_attention(const layer *l) {
    float *normed = open_scratch(l);
    project(l, normed, NULL);
    free(normed);
}

void after_attention(const layer *l, const float *attended) {
    float *normed = open_scratch(l);
    finish(l, attended, normed, normed + l->width);
    free(normed);
}
