/* RMS normalisation of rows of WIDTH elements, then an optional rotation; sums are in float32.

   y = R (x · scale · gain), the latter by rms.h. R turns the pairs (j, j + WIDTH/2) by the angles of the
   row's position, shared by `heads` rows one after another; `cosine` is NULL for R = 1. */
#include "element.h"
#include "rms.h"

enum { CHUNKS = WIDTH / LANES, HALF = CHUNKS / 2 };

/* `side` is 1 forwards and −1 back. */
static inline void rotate(vec *row, const float *cosine, const float *sine, float side) {
    for (int c = 0; c < HALF; c++) {
        vec first = row[c], second = row[c + HALF];
        vec along = load(cosine + c * LANES), across = load(sine + c * LANES) * side;
        row[c] = first * along - second * across;
        row[c + HALF] = second * along + first * across;
    }
}

void forward(const element *x, const float *gain, const float *cosine, const float *sine, element *y,
             float *scale, int64_t rows, int64_t heads, float eps, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < rows; row++) {
        vec values[CHUNKS];
        for (int c = 0; c < CHUNKS; c++) values[c] = load_elements(x + row * WIDTH + c * LANES);
        scale[row] = normalise(values, CHUNKS, gain, eps);
        long angles = row / heads * (WIDTH / 2);
        if (cosine) rotate(values, cosine + angles, sine + angles, 1);
        for (int c = 0; c < CHUNKS; c++) store_elements(y + row * WIDTH + c * LANES, values[c]);
    }
}

/* The gradient by y goes back through R, then through rms.h; the gain's is summed over each PIECE of rows in
   `grad_gain` (pieces, WIDTH). */
void backward(const element *grad, const element *x, const float *gain, const float *cosine,
              const float *sine, const float *scale, element *grad_x, float *grad_gain, int64_t rows,
              int64_t heads, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long piece = 0; piece < (rows + PIECE - 1) / PIECE; piece++) {
        vec gains[CHUNKS] = {};
        for (long row = piece * PIECE; row < least(rows, (piece + 1) * PIECE); row++) {
            vec g[CHUNKS], values[CHUNKS];
            for (int c = 0; c < CHUNKS; c++) {
                g[c] = load_elements(grad + row * WIDTH + c * LANES);
                values[c] = load_elements(x + row * WIDTH + c * LANES);
            }
            long angles = row / heads * (WIDTH / 2);
            if (cosine) rotate(g, cosine + angles, sine + angles, -1);
            normalise_back(g, values, CHUNKS, gain, scale[row], gains);
            for (int c = 0; c < CHUNKS; c++) store_elements(grad_x + row * WIDTH + c * LANES, g[c]);
        }
        for (int c = 0; c < CHUNKS; c++) store(grad_gain + piece * WIDTH + c * LANES, gains[c]);
    }
}
