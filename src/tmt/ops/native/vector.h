/* Vectors of LANES floats: as wide as the registers the code is compiled for, or as -DLANES says.

   gcc and clang split a vector that is wider than the registers. What they express badly goes through
   intrinsics where LANES fills a register of AVX-512, AVX2 or SSE; the portable form beside them does the same. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#ifndef LANES
#if defined __AVX512F__
#define LANES 16
#elif defined __AVX2__
#define LANES 8
#else
#define LANES 4
#endif
#endif

#if LANES == 16 && defined __AVX512F__
#define AVX512 1
#elif LANES == 8 && defined __AVX2__
#define AVX2 1
#elif LANES == 4 && defined __SSE2__
#define SSE 1
#endif

#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint32_t vec_bits __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t vec_int __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Numbers of lanes: the four of a block; four in every block, given for the first one; all. */
#define SHIFTED(a, b, c, d, by) (a) + (by), (b) + (by), (c) + (by), (d) + (by)
#define BLOCK(number) SHIFTED(0, 1, 2, 3, 4 * (number))
#if LANES == 16
#define EACH(a, b, c, d)                                                                                     \
    SHIFTED(a, b, c, d, 0), SHIFTED(a, b, c, d, 4), SHIFTED(a, b, c, d, 8), SHIFTED(a, b, c, d, 12)
#elif LANES == 8
#define EACH(a, b, c, d) SHIFTED(a, b, c, d, 0), SHIFTED(a, b, c, d, 4)
#else
#define EACH(a, b, c, d) SHIFTED(a, b, c, d, 0)
#endif
#define LANE_NUMBERS EACH(0, 1, 2, 3)

/* The lanes of two vectors, those of the second counted from LANES on, in the order given. */
#if defined __clang__ || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (vec_int){__VA_ARGS__})
#endif

static inline long round_up(long n) { return (n + LANES - 1) / LANES * LANES; }
static inline long least(long a, long b) { return a < b ? a : b; }
static inline long most(long a, long b) { return a > b ? a : b; }

static inline vec splat(float x) { return (vec){} + x; }
static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec x) { *(vec *)p = x; }

static inline vec load_part(const float *p, int n) {
    float lanes[LANES] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return load(lanes);
}

static inline vec choose(vec_int mask, vec yes, vec no) {
#if AVX2
    return (vec)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
#else
    return (vec)(((vec_int)yes & mask) | ((vec_int)no & ~mask));
#endif
}

/* a where it is larger than b, else b, also where one of them is no number. */
static inline vec larger(vec a, vec b) {
#if AVX512
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif AVX2
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif SSE
    return (vec)_mm_max_ps((__m128)a, (__m128)b);
#else
    return choose(a > b, a, b);
#endif
}

/* −larger(−a, −b) */
static inline vec smaller(vec a, vec b) {
#if AVX512
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif AVX2
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#elif SSE
    return (vec)_mm_min_ps((__m128)a, (__m128)b);
#else
    return choose(a < b, a, b);
#endif
}

static inline vec absolute(vec x) { return (vec)((vec_bits)x & 0x7fffffff); }

/* Sum of the lanes, in a fixed order. */
static inline float sum(vec x) {
    x += SHUFFLE(x, x, EACH(2, 3, 0, 1));
    x += SHUFFLE(x, x, EACH(1, 0, 3, 2));
#if LANES == 16
    x += SHUFFLE(x, x, BLOCK(2), BLOCK(3), BLOCK(0), BLOCK(1));
    x += SHUFFLE(x, x, BLOCK(1), BLOCK(0), BLOCK(3), BLOCK(2));
#elif LANES == 8
    x += SHUFFLE(x, x, BLOCK(1), BLOCK(0));
#endif
    return x[0];
}

/* The sums of LANES vectors, each in the order of `sum`. */
static inline vec sums(vec *x) {
    for (int i = 0; i < LANES / 2; i++) {
        vec even = x[2 * i], odd = x[2 * i + 1];
        x[i] = SHUFFLE(even, odd, EACH(0, LANES, 1, LANES + 1)) +
               SHUFFLE(even, odd, EACH(2, LANES + 2, 3, LANES + 3));
    }
    for (int i = 0; i < LANES / 4; i++) {
        vec even = x[2 * i], odd = x[2 * i + 1];
        x[i] = SHUFFLE(even, odd, EACH(0, 1, LANES, LANES + 1)) +
               SHUFFLE(even, odd, EACH(2, 3, LANES + 2, LANES + 3));
    }
#if LANES == 16
    for (int i = 0; i < 2; i++) {
        vec even = x[2 * i], odd = x[2 * i + 1];
        x[i] = SHUFFLE(even, odd, BLOCK(0), BLOCK(1), BLOCK(4), BLOCK(5)) +
               SHUFFLE(even, odd, BLOCK(2), BLOCK(3), BLOCK(6), BLOCK(7));
    }
    x[0] = SHUFFLE(x[0], x[1], BLOCK(0), BLOCK(2), BLOCK(4), BLOCK(6)) +
           SHUFFLE(x[0], x[1], BLOCK(1), BLOCK(3), BLOCK(5), BLOCK(7));
#elif LANES == 8
    x[0] = SHUFFLE(x[0], x[1], BLOCK(0), BLOCK(2)) + SHUFFLE(x[0], x[1], BLOCK(1), BLOCK(3));
#endif
    return x[0];
}

/* Sum of n numbers. */
static inline float sum_of(const float *x, long n) {
    vec total = {};
    for (long i = 0; i + LANES <= n; i += LANES) total += load(x + i);
    if (n % LANES) total += load_part(x + n / LANES * LANES, n % LANES);
    return sum(total);
}

static inline float largest(vec x) {
    x = larger(x, SHUFFLE(x, x, EACH(2, 3, 0, 1)));
    x = larger(x, SHUFFLE(x, x, EACH(1, 0, 3, 2)));
    float most = x[0];
    for (int lane = 4; lane < LANES; lane += 4) most = x[lane] > most ? x[lane] : most;
    return most;
}

/* One bit for every lane that is at least `floor`. */
static inline uint32_t lanes_at_least(vec x, float floor) {
#if AVX512
    return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(floor), _CMP_GE_OQ);
#elif AVX2
    return _mm256_movemask_ps(_mm256_cmp_ps((__m256)x, _mm256_set1_ps(floor), _CMP_GE_OQ));
#elif SSE
    return _mm_movemask_ps(_mm_cmpge_ps((__m128)x, _mm_set1_ps(floor)));
#else
    uint32_t bits = 0;
    for (int lane = 0; lane < LANES; lane++) bits |= (uint32_t)(x[lane] >= floor) << lane;
    return bits;
#endif
}

static inline vec round_to_even(vec x) {
#if AVX512
    return (vec)_mm512_roundscale_ps((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif AVX2
    return (vec)_mm256_round_ps((__m256)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#else
    const float whole = 1 << 23; /* no fraction from here on */
    vec_bits sign = (vec_bits)x & 0x80000000;
    vec rounded = (vec)((vec_bits)(absolute(x) + whole - whole) | sign);
    return choose(absolute(x) < whole, rounded, x);
#endif
}

/* p 2^n for whole n: 0 where that is below the smallest float. */
static inline vec scale_by_power(vec p, vec n) {
#if AVX512
    return (vec)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    vec_int normal = n >= -126.0f, whole = __builtin_convertvector(choose(normal, n, splat(0)), vec_int);
    return choose(normal, p * (vec)((whole + 127) << 23), splat(0));
#endif
}

/* e^x for x <= 88: 2^n times the Taylor polynomial of the rest, below 2e-7 relative; 0 far below. */
static inline vec exponential(vec x) {
    const float log2_e = 1.44269504f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    x = larger(splat(-105.0f), x);
    vec n = round_to_even(x * log2_e);
    vec r = x - n * ln2_high - n * ln2_low;
    vec p = splat(1.0f / 5040);
    const float terms[] = {1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
    for (int term = 0; term < 7; term++) p = p * r + terms[term];
    return scale_by_power(p, n);
}
