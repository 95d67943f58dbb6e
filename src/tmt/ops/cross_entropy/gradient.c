/* Cross-entropy of rows of logits, its gradient in place; sums are in float32. */
#include <stdlib.h>
#include "element.h"

/* Vectors of a row in `buffer`; returns how many numbers these are, some of them beyond the row. */
static long open_row(const element *logits, float *buffer, long columns) {
    long whole = columns / LANES * LANES, end = round_up(columns);
    for (long c = 0; c < whole; c += LANES) store(buffer + c, load_elements(logits + c));
    if (whole < end) store(buffer + whole, load_first(logits + whole, columns - whole));
    return end;
}

/* Numbers z become cap · tanh(z / cap); slopes: 1 − tanh². */
static void bend(float *buffer, float *slopes, long end, float cap) {
    for (long c = 0; c < end; c += LANES) {
        vec twice = load(buffer + c) * (2 / cap);
        vec share = 1 - 2 / (exponential(smaller(splat(40.0f), twice)) + 1);
        store(buffer + c, share * cap);
        store(slopes + c, 1 - share * share);
    }
}

static void close_row(element *logits, const float *buffer, long columns, float factor) {
    long whole = columns / LANES * LANES;
    for (long c = 0; c < whole; c += LANES) store_elements(logits + c, load(buffer + c) * factor);
    if (whole < columns) store_first(logits + whole, load(buffer + whole) * factor, columns - whole);
}

/* Turns the numbers of an open row into weights e^(z − peak) that sum to `total`; returns the peak. */
static float weigh(float *buffer, long columns, long end, float *total) {
    for (long c = columns; c < end; c++) buffer[c] = -INFINITY;
    vec top = splat(-INFINITY), mass = {};
    for (long c = 0; c < end; c += LANES) top = larger(load(buffer + c), top);
    float peak = largest(top);
    for (long c = 0; c < end; c += LANES) {
        vec weight = exponential(load(buffer + c) - peak);
        mass += weight;
        store(buffer + c, weight);
    }
    *total = sum(mass);
    return peak;
}

/* logits (rows, columns) become softmax − one-hot(target), times the slope of the softcap where cap is above
   zero; nll (rows). */
void into_gradient(element *logits, const int64_t *target, float *nll, int64_t rows, int64_t columns, float cap,
                   int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *buffer = malloc(2 * round_up(columns) * sizeof *buffer), *slopes = buffer + round_up(columns);
#pragma omp for
        for (long row = 0; row < rows; row++) {
            long end = open_row(logits + row * columns, buffer, columns);
            if (cap > 0) bend(buffer, slopes, end, cap);
            float total, wanted = buffer[target[row]], peak = weigh(buffer, columns, end, &total);
            nll[row] = logf(total) + peak - wanted;
            buffer[target[row]] -= total;
            if (cap > 0)
                for (long c = 0; c < end; c += LANES) store(buffer + c, load(buffer + c) * load(slopes + c));
            close_row(logits + row * columns, buffer, columns, 1 / total);
        }
        free(buffer);
    }
}

/* log Σ e^z of every row, z bent by the softcap where cap is above zero. */
void log_sum_exp(const element *logits, float *result, int64_t rows, int64_t columns, float cap, int threads) {
#pragma omp parallel num_threads(threads)
    {
        float *buffer = malloc(2 * round_up(columns) * sizeof *buffer), *slopes = buffer + round_up(columns);
#pragma omp for
        for (long row = 0; row < rows; row++) {
            long end = open_row(logits + row * columns, buffer, columns);
            if (cap > 0) bend(buffer, slopes, end, cap);
            float total, peak = weigh(buffer, columns, end, &total);
            result[row] = logf(total) + peak;
        }
        free(buffer);
    }
}
