/* GELU of rows times a gate: y = g x Φ(x), Φ the normal distribution; sums are in float32.

   Φ(−|x|) = e^(−x²/2) P(t) / 2 with t = 1 / (1 + p |x| / √2): Abramowitz & Stegun 7.1.26, which is within
   1.5e-7 everywhere. */
#include "element.h"

/* Φ(x), and the density e^(−x²/2) / √(2π). */
static inline vec distribution(vec x, vec *density) {
    vec bell = exponential(x * x * -0.5f), t = 1 / (1 + absolute(x) * (0.3275911f * 0.70710678f));
    vec p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    vec below = bell * p * t * 0.5f;
    *density = bell * 0.39894228f;
    return choose(x < 0.0f, below, 1 - below);
}

void forward(const element *x, const float *gate, element *y, int64_t rows, int64_t width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, PIECE)
    for (long row = 0; row < rows; row++)
        for (long i = row * width; i < (row + 1) * width; i += LANES) {
            vec density, value = load_elements(x + i);
            store_elements(y + i, value * distribution(value, &density) * gate[row]);
        }
}

/* grad_x = g (Φ + x φ) grad; grad_gate = Σ x Φ grad of the row; y as forwards. */
void backward(const element *grad, const element *x, const float *gate, element *grad_x, float *grad_gate,
              element *y, int64_t rows, int64_t width, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, PIECE)
    for (long row = 0; row < rows; row++) {
        vec total = {};
        for (long i = row * width; i < (row + 1) * width; i += LANES) {
            vec density, value = load_elements(x + i), g = load_elements(grad + i);
            vec below = distribution(value, &density);
            total += value * below * g;
            store_elements(y + i, value * below * gate[row]);
            store_elements(grad_x + i, (below + value * density) * g * gate[row]);
        }
        grad_gate[row] = sum(total);
    }
}
