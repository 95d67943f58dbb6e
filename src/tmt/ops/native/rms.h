/* RMS normalisation of one row in registers, and its way back; sums are in float32. */
#pragma once
#include "vector.h"

/* The row x becomes y = x · scale · gain; returns scale = 1/sqrt(mean x² + eps). */
INLINE float normalise(vec *row, int chunks, const float *gain, float eps) {
    vec squares = {};
    for (int c = 0; c < chunks; c++) squares += row[c] * row[c];
    float scale = 1 / sqrtf(sum(squares) / (chunks * LANES) + eps);
    for (int c = 0; c < chunks; c++) row[c] *= load(gain + c * LANES) * scale;
    return scale;
}

/* The gradient g of y becomes that of x, scale · (g · gain − h · mean(g · gain · h)) with h = x · scale;
   g · h, that of the gain, is added to `gains`. */
INLINE void normalise_back(vec *g, const vec *x, int chunks, const float *gain, float scale, vec *gains) {
    vec product = {};
    for (int c = 0; c < chunks; c++) {
        vec h = x[c] * scale;
        gains[c] += g[c] * h;
        g[c] *= load(gain + c * LANES);
        product += g[c] * h;
    }
    float mean = sum(product) / (chunks * LANES);
    for (int c = 0; c < chunks; c++) g[c] = (g[c] - x[c] * scale * mean) * scale;
}
