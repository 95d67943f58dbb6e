/* Cross-entropy of rows of logits and its gradient, in place; sums are in float32. */
#include <stdlib.h>
#include "element.h"

/* Vectors of a row in `buffer`, the last one filled with −∞; returns how many. */
static long open_row(const element *logits, float *buffer, long columns) {
    long whole = columns / LANES * LANES;
    for (long c = 0; c < whole; c += LANES) store(buffer + c, load_elements(logits + c));
    if (whole == columns) return whole;
    element rest[LANES] = {0};
    memcpy(rest, logits + whole, (columns - whole) * sizeof *rest);
    store(buffer + whole, load_elements(rest));
    for (long c = columns; c < whole + LANES; c++) buffer[c] = -INFINITY;
    return whole + LANES;
}

static void close_row(element *logits, const float *buffer, long columns, float factor) {
    long whole = columns / LANES * LANES;
    for (long c = 0; c < whole; c += LANES) store_elements(logits + c, load(buffer + c) * factor);
    element rest[LANES];
    store_elements(rest, load(buffer + whole) * factor);
    memcpy(logits + whole, rest, (columns - whole) * sizeof *rest);
}

/* logits (rows, columns) become softmax − one-hot(target); nll (rows). */
void into_gradient(element *logits, const int64_t *target, float *nll, int64_t rows, int64_t columns,
                   int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *buffer = calloc(round_up(columns) + LANES, sizeof *buffer);
#pragma omp for
        for (long row = 0; row < rows; row++) {
            long end = open_row(logits + row * columns, buffer, columns);
            vec top = splat(-INFINITY), mass = {};
            for (long c = 0; c < end; c += LANES) {
                vec next = load(buffer + c);
                top = choose(next > top, next, top);
            }
            float peak = largest(top), wanted = buffer[target[row]];
            for (long c = 0; c < end; c += LANES) {
                vec weight = exponential(load(buffer + c) - peak);
                mass += weight;
                store(buffer + c, weight);
            }
            float total = sum(mass);
            nll[row] = logf(total) + peak - wanted;
            buffer[target[row]] -= total;
            close_row(logits + row * columns, buffer, columns, 1 / total);
        }
        free(buffer);
    }
}
