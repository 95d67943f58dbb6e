/* Neighbour selection on the CPU; the rules are those of reference.py, the sums run over r in order. */
#include <stdlib.h>
#include "vector.h"

enum { POSITION_BITS = 24 };
static const float LEVELS = 1 << 14, HIGHEST = 1 << 30;

/* What the search reads: queries (B,T,R), keys (B,S,R), means (B,W,R) of complete blocks. */
typedef struct {
    int64_t batch, queries, keys, routing, means;
    int64_t key_stride, mean_stride;
    int64_t k, window, block, k_global, exact_until, successors;
    const float *q, *key, *mean;
    const int64_t *positions, *earliest;
} search;

/* Vectors in groups, (count / LANES, R, LANES): one load takes the same component of LANES of them. */
static void transpose_group(const float *rows, long count, long routing, long group, float *target) {
    long filled = least(LANES, count - group * LANES);
    for (long r = 0; r < routing; r++)
        for (long lane = 0; lane < LANES; lane++)
            target[r * LANES + lane] = lane < filled ? rows[(group * LANES + lane) * routing + r] : 0;
}

/* A set of vectors to choose from, transposed already or, where few of them will be read, on demand. */
typedef struct {
    const float *rows, *groups;
    long count, routing;
    float *scratch;
} pool;

static const float *group_of(const pool *p, long group) {
    if (p->groups) return p->groups + group * p->routing * LANES;
    transpose_group(p->rows, p->count, p->routing, group, p->scratch);
    return p->scratch;
}

/* The best so far, best first: rank = level, then position. */
typedef struct {
    long size, capacity;
    int64_t *rank;
} ranking;

static void insert(ranking *best, int64_t rank) {
    if (best->size == best->capacity) {
        if (rank <= best->rank[best->size - 1]) return;
        best->size--;
    }
    long at = best->size++;
    for (; at > 0 && best->rank[at - 1] < rank; at--) best->rank[at] = best->rank[at - 1];
    best->rank[at] = rank;
}

static long index_of(int64_t rank) { return rank & ((1 << POSITION_BITS) - 1); }

/* Rounded products of q with a group's vectors, −∞ for those outside first..last. */
static vec levels(const pool *p, const float *q, long group, long first, long last) {
    const vec_int lane = {LANE_NUMBERS};
    const float *components = group_of(p, group);
    vec total = {};
    for (long r = 0; r < p->routing; r++) total += load(components + r * LANES) * q[r];
    vec level = round_to_even(total * LEVELS);
    level = larger(smaller(level, splat(HIGHEST)), splat(-HIGHEST));
    vec_int eligible = (lane >= (int32_t)(first - group * LANES)) & (lane <= (int32_t)(last - group * LANES));
    return choose(eligible, level, splat(-INFINITY));
}

/* The largest lane that `count` lanes reach: as many vectors are at least as good. */
static float reached_by(vec highest, long count) {
    float lanes[LANES], floor = -HIGHEST;
    store(lanes, highest);
    for (int lane = 0; lane < LANES; lane++)
        if (lanes[lane] > floor && __builtin_popcount(lanes_at_least(highest, lanes[lane])) >= count)
            floor = lanes[lane];
    return floor;
}

/* Ranks the vectors first..last by their product with q. Of a stretch of groups, only those are looked at
   that the best of each lane do not rule out. */
static void scan(const pool *p, const float *q, long first, long last, ranking *best) {
    enum { STRETCH = 32 };
    if (last < first || !best->capacity) return;
    for (long bottom = first / LANES; bottom <= last / LANES; bottom += STRETCH) {
        long groups = least(STRETCH, last / LANES + 1 - bottom);
        vec level[STRETCH], highest = splat(-INFINITY);
        for (long i = 0; i < groups; i++) {
            level[i] = levels(p, q, bottom + i, first, last);
            highest = larger(level[i], highest);
        }
        float floor = reached_by(highest, best->capacity);
        if (best->size == best->capacity) floor = fmaxf(floor, best->rank[best->size - 1] >> POSITION_BITS);
        for (long i = groups - 1; i >= 0; i--) {
            float lanes[LANES];
            store(lanes, level[i]);
            for (uint32_t wanted = lanes_at_least(level[i], floor); wanted; wanted &= wanted - 1) {
                long lane = __builtin_ctz(wanted);
                insert(best, (int64_t)lanes[lane] * (1 << POSITION_BITS) + (bottom + i) * LANES + lane);
            }
        }
    }
}

/* Past tokens outside the window; for distant queries only those of the best blocks. */
static void search_query(const search *s, const pool *tokens, const pool *means, const float *q, long position,
                         long first, ranking *blocks, ranking *best) {
    long last = position - s->window;
    best->size = blocks->size = 0;
    if (position < s->exact_until) return scan(tokens, q, first, last, best);
    long own = position / s->block;
    scan(tokens, q, most(first, (own - 1) * s->block), last, best);
    scan(means, q, 0, own - 2, blocks);
    for (long i = 0; i < blocks->size; i++) {
        long start = index_of(blocks->rank[i]) * s->block;
        scan(tokens, q, most(first, start), least(last, start + s->block - 1), best);
    }
}

static void write_neighbours(const search *s, const ranking *best, long position, int32_t *table) {
    for (long i = 0; i < s->k; i++) table[i] = i < best->size ? index_of(best->rank[i]) : -1;
    for (long i = 0; s->successors && i < s->k; i++) {
        long after = table[i] + 1;
        int kept = table[i] >= 0 && after <= position - s->window;
        for (long other = 0; other < s->k; other++) kept &= table[other] != after;
        table[s->k + i] = kept ? after : -1;
    }
}

static void transpose(const float *rows, long stride, long batch, long count, long routing, float *target,
                      int threads) {
    long groups = round_up(count) / LANES;
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < batch * groups; i++)
        transpose_group(rows + i / groups * stride, count, routing, i % groups, target + i * routing * LANES);
}

/* table (B, T, k or 2k); key_groups and mean_groups are scratch for (B, S or W rounded up to 16, R), or NULL
   for a call of few queries (decoding), which transposes only what it reads. */
void build_graph(const search *s, float *key_groups, float *mean_groups, int32_t *table, int threads) {
    long pieces = (s->queries + PIECE - 1) / PIECE, columns = s->k * (s->successors ? 2 : 1);
    long key_size = round_up(s->keys) * s->routing, mean_size = round_up(s->means) * s->routing;
    if (key_groups) {
        transpose(s->key, s->key_stride, s->batch, s->keys, s->routing, key_groups, threads);
        transpose(s->mean, s->mean_stride, s->batch, s->means, s->routing, mean_groups, threads);
    }
#pragma omp parallel num_threads(threads)
    {
        float *scratch = malloc(s->routing * LANES * sizeof *scratch);
        int64_t *ranks = malloc((s->k + s->k_global + 1) * sizeof *ranks);
        ranking best = {0, s->k, ranks}, blocks = {0, s->k_global, ranks + s->k};
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < s->batch * pieces; piece++) {
            long row = piece / pieces, start = piece % pieces * PIECE;
            pool tokens = {s->key + row * s->key_stride, key_groups ? key_groups + row * key_size : NULL,
                           s->keys, s->routing, scratch};
            pool summaries = {s->mean + row * s->mean_stride, key_groups ? mean_groups + row * mean_size : NULL,
                              s->means, s->routing, scratch};
            for (long query = start; query < least(start + PIECE, s->queries); query++) {
                long at = row * s->queries + query, position = s->positions[at];
                long first = s->earliest ? s->earliest[at] : 0;
                search_query(s, &tokens, &summaries, s->q + at * s->routing, position, first, &blocks, &best);
                write_neighbours(s, &best, position, table + at * columns);
            }
        }
        free(scratch);
        free(ranks);
    }
}

/* means (B, W, R) of the blocks first..first+W−1 of rows (B, S, R), every one complete or not read. */
void block_means(const float *rows, int64_t stride, int64_t batch, int64_t keys, int64_t routing, int64_t block,
                 int64_t first, int64_t count, float *means) {
    for (long i = 0; i < batch * count; i++) {
        long start = (first + i % count) * block;
        const float *from = rows + i / count * stride;
        for (long r = 0; r < routing; r++) {
            float total = 0;
            for (long key = start; key < least(keys, start + block); key++) total += from[key * routing + r];
            means[i * routing + r] = total / block;
        }
    }
}

/* First position (B, T) that some head still hears: forget_q − forget_k ≥ floor; forget_k falls along S. */
void earliest_audible(const float *forget_q, const float *forget_k, int64_t stride, const int64_t *positions,
                      int64_t batch, int64_t queries, int64_t heads, float floor, int64_t *earliest) {
    for (long at = 0; at < batch * queries; at++) {
        const float *heard = forget_q + at * heads, *said = forget_k + at / queries * stride;
        long low = positions[at];
        for (long head = 0; head < heads; head++) {
            long start = 0, end = low;
            while (start < end) {
                long middle = (start + end) / 2;
                if (heard[head] - said[middle * heads + head] < floor) start = middle + 1;
                else end = middle;
            }
            low = end;
        }
        earliest[at] = low;
    }
}
