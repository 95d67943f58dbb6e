/* Per-channel mix of a token with the TAPS − 1 before it: y_t = Σ_d weight_d ⊙ x_{t−d}, in float32.

   Grids are flat: token t of batch row b at b·length + t. The tokens before a batch row's first are in
   `tail` (batch, PAST, WIDTH); here they have the negative t. */
#include "element.h"

enum { CHUNKS = WIDTH / LANES, PAST = TAPS - 1 };

static inline element *token_at(element *x, element *tail, long row, long t, long length) {
    return t < 0 ? tail + (row * PAST + PAST + t) * WIDTH : x + (row * length + t) * WIDTH;
}

/* y (count, WIDTH) of the grid rows `index` (count,); `index` is NULL for all of them. */
void forward(element *x, element *tail, const float *weight, const int64_t *index, element *y, int64_t count,
             int64_t length, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long place = 0; place < count; place++) {
        long at = index ? index[place] : place;
        const element *from[TAPS];
        for (int d = 0; d < TAPS; d++) from[d] = token_at(x, tail, at / length, at % length - d, length);
        for (int c = 0; c < WIDTH; c += LANES) {
            vec total = {};
            for (int d = 0; d < TAPS; d++) total += load(weight + d * WIDTH + c) * load_elements(from[d] + c);
            store_elements(y + place * WIDTH + c, total);
        }
    }
}

/* For every token that was read: grad_x_t = Σ_d weight_d ⊙ grad_{t+d}, and the sums of x_t ⊙ grad_{t+d} over
   each PIECE of tokens in `grad_weight` (pieces, TAPS, WIDTH). `place` (batch·length) finds a grid row in
   `grad`, −1 where it was not asked for; it is NULL for the identity. */
void backward(const element *grad, element *x, element *tail, const float *weight, const int32_t *place,
              element *grad_x, element *grad_tail, float *grad_weight, int64_t batch, int64_t length,
              int threads) {
    static const element nothing[WIDTH];
    long tokens = PAST + length, all = batch * tokens;
#pragma omp parallel for num_threads(threads)
    for (long piece = 0; piece < (all + PIECE - 1) / PIECE; piece++) {
        vec weights[TAPS][CHUNKS] = {};
        for (long token = piece * PIECE; token < least(all, (piece + 1) * PIECE); token++) {
            long row = token / tokens, t = token % tokens - PAST;
            const element *value = token_at(x, tail, row, t, length), *from[TAPS];
            element *into = token_at(grad_x, grad_tail, row, t, length);
            for (int d = 0; d < TAPS; d++) {
                long at = t + d < 0 || t + d >= length ? -1 : row * length + t + d;
                if (place && at >= 0) at = place[at];
                from[d] = at < 0 ? nothing : grad + at * WIDTH;
            }
            for (int c = 0; c < CHUNKS; c++) {
                vec v = load_elements(value + c * LANES), total = {};
                for (int d = 0; d < TAPS; d++) {
                    vec g = load_elements(from[d] + c * LANES);
                    total += load(weight + d * WIDTH + c * LANES) * g;
                    weights[d][c] += v * g;
                }
                store_elements(into + c * LANES, total);
            }
        }
        memcpy(grad_weight + piece * TAPS * WIDTH, weights, sizeof weights);
    }
}
