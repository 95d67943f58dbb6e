/* Products of a few rows with a weight matrix, each weight read from memory once; sums are in float32.

   Every output is the sum of LANES partial sums over the columns in their order, whatever the number of
   threads and of rows, so a row alone gets the same bits as in company. */
#include "element.h"

enum { TILE = 4, AHEAD = 8192 / sizeof(element) };

/* Adds the products of `n` columns of TILE weight rows and `count` rows of x to their totals, and prefetches
   the same columns of the next tile, or of a later one where that is less than AHEAD weights away. */
INLINE void add_columns(vec totals[][TILE], const float *x, long width, const element *const *row, long n,
                        int count) {
    vec weight[TILE];
    for (int r = 0; r < TILE; r++) {
        __builtin_prefetch(row[r] + most(TILE * width, AHEAD));
        weight[r] = load_first(row[r], n);
    }
    for (int i = 0; i < count; i++) {
        vec values = n == LANES ? load(x + i * width) : load_part(x + i * width, n);
        for (int r = 0; r < TILE; r++) totals[i][r] += weight[r] * values;
    }
}

/* Totals of `count` rows of x, a constant once inlined, with the weight rows `first` to first + TILE; where
   there are only `rows` of them, the last is repeated. */
INLINE void add_tile(vec totals[][LANES], const float *x, const element *weight, long width, long first,
                     long rows, int count) {
    const element *row[TILE];
    vec tile[TILE][TILE] = {};
    for (int r = 0; r < TILE; r++) row[r] = weight + least(first + r, rows - 1) * width;
    for (long c = 0; c < width; c += LANES) {
        if (c + LANES <= width) add_columns(tile, x + c, width, row, LANES, count);
        else add_columns(tile, x + c, width, row, width - c, count);
        for (int r = 0; r < TILE; r++) row[r] += LANES;
    }
    for (int i = 0; i < count; i++)
        for (int r = 0; r < TILE; r++) totals[i][first + r] = tile[i][r];
}

/* x (n, width), weight (outputs, width), bias (outputs) or NULL, y (n, outputs). */
void few_rows(const float *x, const element *weight, const element *bias, element *y, int64_t n,
              int64_t outputs, int64_t width, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long first = 0; first < outputs; first += LANES) {
        long rows = least(LANES, outputs - first);
        const element *strip = weight + first * width;
        vec shift = bias ? load_first(bias + first, rows) : splat(0);
        for (long i = 0; i < n; i += TILE) {
            vec totals[TILE][LANES] = {};
            const float *some = x + i * width;
            for (long r = 0; r < rows; r += TILE) switch (n - i) {
                case 1: add_tile(totals, some, strip, width, r, rows, 1); break;
                case 2: add_tile(totals, some, strip, width, r, rows, 2); break;
                case 3: add_tile(totals, some, strip, width, r, rows, 3); break;
                default: add_tile(totals, some, strip, width, r, rows, TILE);
                }
            for (long j = 0; j < least(n - i, TILE); j++)
                store_first(y + (i + j) * outputs + first, sums(totals[j]) + shift, rows);
        }
    }
}
