/* Per-channel mix of a token with the TAPS − 1 before it, m_t = Σ_d weight_d ⊙ x_{t−d}, and if asked the RMS
   normalisation of the mix; in float32.

   Grids are flat: token t of batch row b at b·length + t. The tokens before a batch row's first are in
   `tail` (batch, PAST, WIDTH); here they have the negative t. Outputs (count, WIDTH) are of the grid rows
   `index` (count,), which is NULL for all of them. */
#include "element.h"
#include "rms.h"

enum { CHUNKS = WIDTH / LANES, PAST = TAPS - 1 };

static inline element *token_at(element *x, element *tail, long row, long t, long length) {
    return t < 0 ? tail + (row * PAST + PAST + t) * WIDTH : x + (row * length + t) * WIDTH;
}

static inline void mix(vec *mixed, element *x, element *tail, const float *weight, long at, long length) {
    const element *from[TAPS];
    for (int d = 0; d < TAPS; d++) from[d] = token_at(x, tail, at / length, at % length - d, length);
    for (int c = 0; c < CHUNKS; c++) {
        mixed[c] = (vec){};
        for (int d = 0; d < TAPS; d++)
            mixed[c] += load(weight + d * WIDTH + c * LANES) * load_elements(from[d] + c * LANES);
    }
}

/* The mix; normalised, with the `scale` (count,) of rms.h, unless `gain` is NULL. */
void forward(element *x, element *tail, const float *weight, const float *gain, const int64_t *index,
             element *y, float *scale, int64_t count, int64_t length, float eps, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long place = 0; place < count; place++) {
        vec mixed[CHUNKS];
        mix(mixed, x, tail, weight, index ? index[place] : place, length);
        if (gain) scale[place] = normalise(mixed, CHUNKS, gain, eps);
        for (int c = 0; c < CHUNKS; c++) store_elements(y + place * WIDTH + c * LANES, mixed[c]);
    }
}

/* The gradient of the mix for that of the normalised one, and that of the gain, summed over each PIECE of
   tokens in `grad_gain` (pieces, WIDTH). */
void before_norm(const element *grad, element *x, element *tail, const float *weight, const float *gain,
                 const int64_t *index, const float *scale, element *grad_mix, float *grad_gain,
                 int64_t count, int64_t length, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long piece = 0; piece < (count + PIECE - 1) / PIECE; piece++) {
        vec gains[CHUNKS] = {};
        for (long place = piece * PIECE; place < least(count, (piece + 1) * PIECE); place++) {
            vec g[CHUNKS], mixed[CHUNKS];
            mix(mixed, x, tail, weight, index ? index[place] : place, length);
            for (int c = 0; c < CHUNKS; c++) g[c] = load_elements(grad + place * WIDTH + c * LANES);
            normalise_back(g, mixed, CHUNKS, gain, scale[place], gains);
            for (int c = 0; c < CHUNKS; c++) store_elements(grad_mix + place * WIDTH + c * LANES, g[c]);
        }
        memcpy(grad_gain + piece * WIDTH, gains, sizeof gains);
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
