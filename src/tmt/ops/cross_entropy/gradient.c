/* Cross-entropy of rows of logits and its gradient, in place; sums are in float32. */
#include <stdlib.h>
#include "element.h"

/* Vectors of a row in `buffer`, the last one filled with −∞; returns how many numbers these are. */
static long open_row(const element *logits, float *buffer, long columns) {
    long whole = columns / LANES * LANES, end = round_up(columns);
    for (long c = 0; c < whole; c += LANES) store(buffer + c, load_elements(logits + c));
    if (whole < end) store(buffer + whole, load_first(logits + whole, columns - whole));
    for (long c = columns; c < end; c++) buffer[c] = -INFINITY;
    return end;
}

static void close_row(element *logits, const float *buffer, long columns, float factor) {
    long whole = columns / LANES * LANES;
    for (long c = 0; c < whole; c += LANES) store_elements(logits + c, load(buffer + c) * factor);
    if (whole < columns) store_first(logits + whole, load(buffer + whole) * factor, columns - whole);
}

/* logits (rows, columns) become softmax − one-hot(target); nll (rows). */
void into_gradient(element *logits, const int64_t *target, float *nll, int64_t rows, int64_t columns,
                   int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *buffer = malloc(round_up(columns) * sizeof *buffer);
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
