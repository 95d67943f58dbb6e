/* Vectors of 16 floats on any processor: the compiler splits them where its registers are narrower. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };
typedef float vec __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t vec_bits __attribute__((vector_size(64), aligned(4), may_alias));
typedef int32_t vec_int __attribute__((vector_size(64), aligned(4), may_alias));

static inline long round_up(long n) { return (n + LANES - 1) / LANES * LANES; }
static inline long least(long a, long b) { return a < b ? a : b; }
static inline long most(long a, long b) { return a > b ? a : b; }

static inline vec splat(float x) { return (vec){} + x; }
static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec x) { *(vec *)p = x; }
static inline vec choose(vec_int mask, vec yes, vec no) {
    return (vec)(((vec_int)yes & mask) | ((vec_int)no & ~mask));
}

static inline vec load_part(const float *p, int n) {
    float lanes[LANES] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return load(lanes);
}

/* Sum of the lanes, in a fixed order. */
static inline float sum(vec x) {
    x += __builtin_shuffle(x, (vec_int){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7});
    x += __builtin_shuffle(x, (vec_int){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11});
    x += __builtin_shuffle(x, (vec_int){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13});
    return x[0] + x[1];
}

/* The sums of 16 vectors, each in the order of `sum`. */
static inline vec sums(vec *x) {
    for (int i = 0; i < 8; i++)
        x[i] = __builtin_shuffle(x[i], x[i + 8],
                                 (vec_int){0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23}) +
               __builtin_shuffle(x[i], x[i + 8],
                                 (vec_int){8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31});
    for (int i = 0; i < 4; i++)
        x[i] = __builtin_shuffle(x[i], x[i + 4],
                                 (vec_int){0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27}) +
               __builtin_shuffle(x[i], x[i + 4],
                                 (vec_int){4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31});
    for (int i = 0; i < 2; i++)
        x[i] = __builtin_shuffle(x[i], x[i + 2],
                                 (vec_int){0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}) +
               __builtin_shuffle(x[i], x[i + 2],
                                 (vec_int){2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31});
    return __builtin_shuffle(x[0], x[1],
                             (vec_int){0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30}) +
           __builtin_shuffle(x[0], x[1],
                             (vec_int){1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31});
}

/* Sum of n numbers. */
static inline float sum_of(const float *x, long n) {
    vec total = {};
    for (long i = 0; i + LANES <= n; i += LANES) total += load(x + i);
    if (n % LANES) total += load_part(x + n / LANES * LANES, n % LANES);
    return sum(total);
}

static inline float largest(vec x) {
    float most = x[0];
    for (int lane = 1; lane < LANES; lane++) most = x[lane] > most ? x[lane] : most;
    return most;
}

/* One bit for every lane that is at least `floor`. */
static inline uint32_t lanes_at_least(vec x, float floor) {
#ifdef __AVX512F__
    return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(floor), _CMP_GE_OQ);
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++) bits |= (uint32_t)(x[lane] >= floor) << lane;
    return bits;
#endif
}

static inline vec round_to_even(vec x) {
#ifdef __AVX512F__
    return (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    for (int lane = 0; lane < LANES; lane++) x[lane] = nearbyintf(x[lane]);
    return x;
#endif
}

/* p 2^n for whole n: 0 where that is below the smallest float. */
static inline vec scale_by_power(vec p, vec n) {
#ifdef __AVX512F__
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    vec_int normal = n >= -126.0f, whole = __builtin_convertvector(choose(normal, n, splat(0)), vec_int);
    return choose(normal, p * (vec)((whole + 127) << 23), splat(0));
#endif
}

/* e^x for x <= 88: 2^n times the Taylor polynomial of the rest, below 2e-7 relative; 0 far below. */
static inline vec exponential(vec x) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f, least = -105.0f;
    x = choose(x < least, splat(least), x);
    vec n = round_to_even(x * log2_e);
    vec r = x - n * ln2_high - n * ln2_low;
    vec p = splat(1.0f / 5040);
    const float terms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    for (int term = 0; term < 7; term++) p = p * r + terms[term];
    return scale_by_power(p, n);
}
