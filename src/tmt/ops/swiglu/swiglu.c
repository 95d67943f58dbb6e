/* SiLU times a second factor: y = g σ(g) u, computed in float32. */
#include "element.h"

/* σ(x): a bell beyond the range of the exponential would be infinite, and x σ(x) there NaN. */
static inline vec sigmoid(vec x) {
    vec away = choose(x < -88.0f, splat(88.0f), -x);
    return 1 / (1 + exponential(away));
}

void forward(const element *gate, const element *inner, element *y, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < count; i += LANES) {
        vec g = load_elements(gate + i);
        store_elements(y + i, g * sigmoid(g) * load_elements(inner + i));
    }
}

/* grad_inner = g σ grad; grad_gate = σ (1 + g (1 − σ)) u grad; y as forwards. */
void backward(const element *grad, const element *gate, const element *inner, element *grad_gate,
              element *grad_inner, element *y, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long i = 0; i < count; i += LANES) {
        vec g = load_elements(gate + i), u = load_elements(inner + i), out = load_elements(grad + i);
        vec open = sigmoid(g), silu = g * open;
        store_elements(grad_inner + i, silu * out);
        store_elements(grad_gate + i, (open + silu * (1 - open)) * u * out);
        store_elements(y + i, silu * u);
    }
}
