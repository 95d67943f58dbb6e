#include "attention.h"

/* Turns the logits of a head into weights of the values; returns their log-sum-exp. */
static float softmax(const mesh *m, const edges *e, long head, float *usage) {
    float *score = e->score + head * e->stride;
    vec top = load(score), total = {};
    for (long edge = LANES; edge < e->stride; edge += LANES) top = larger(load(score + edge), top);
    float peak = largest(top);
    for (long edge = 0; edge < e->stride; edge += LANES) {
        vec weight = exponential(load(score + edge) - peak);
        total += weight;
        store(score + edge, weight);
    }
    float mass = sum(total);
    for (long edge = 0; edge < e->stride; edge += LANES)
        store(score + edge, load(score + edge) * decay_factor(m, e, head, edge) / mass);
    for (long anchor = 0; anchor < m->anchors; anchor++) usage[anchor] += score[e->kept + anchor] / m->heads;
    return peak + logf(mass);
}

/* output (B,T,H,E), log_sum (B,T,H), usage (B,T,M) */
void forward(const mesh *m, element *output, float *log_sum, float *usage, int threads) {
    long pieces = (m->queries + PIECE - 1) / PIECE;
#pragma omp parallel num_threads(threads)
    {
        edges e = open_edges(m);
#pragma omp for schedule(dynamic)
        for (long piece = 0; piece < m->batch * pieces; piece++) {
            long row = piece / pieces, first = piece % pieces * PIECE;
            for (long query = first; query < least(first + PIECE, m->queries); query++) {
                find_edges(m, &e, row, query);
                score_edges(m, &e);
                long at = row_of(m, &e);
                for (long anchor = 0; anchor < m->anchors; anchor++) usage[at * m->anchors + anchor] = 0;
                for (long head = 0; head < m->heads; head++)
                    log_sum[at * m->heads + head] = softmax(m, &e, head, usage + at * m->anchors);
                mix(m, &e, e.score, e.v, e.total, 1, output + at * m->heads * WIDTH);
            }
        }
        close_edges(&e);
    }
}
