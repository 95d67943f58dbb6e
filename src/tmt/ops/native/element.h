/* Tensor elements, bfloat16 where BF16 is set and float32 otherwise, as vectors of 16 floats. */
#pragma once
#include "vector.h"

#if BF16
typedef uint16_t element;
typedef uint16_t half_vec __attribute__((vector_size(32), aligned(2), may_alias));
static inline vec load_elements(const element *p) {
#ifdef __AVX512F__ /* one instruction, where the portable form takes gcc five */
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#else
    return (vec)(__builtin_convertvector(*(const half_vec *)p, vec_bits) << 16);
#endif
}
static inline void store_elements(element *p, vec x) {
#ifdef __AVX512BF16__
    __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    memcpy(p, &half, sizeof half);
#else
    vec_bits bits = (vec_bits)x, even = bits + 0x7fff + ((bits >> 16) & 1);
    vec_bits kept = (vec_bits)choose(x == x, (vec)even, (vec)(bits | 0x400000)); /* NaN stays NaN */
    *(half_vec *)p = __builtin_convertvector(kept >> 16, half_vec);
#endif
}
#else
typedef float element;
static inline vec load_elements(const element *p) { return load(p); }
static inline void store_elements(element *p, vec x) { store(p, x); }
#endif

/* The first n of 16 elements, zeros behind them. */
INLINE vec load_first(const element *p, long n) {
    if (n == LANES) return load_elements(p);
    element lanes[LANES] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return load_elements(lanes);
}

INLINE void store_first(element *p, vec x, long n) {
    element lanes[LANES];
    store_elements(lanes, x);
    memcpy(p, lanes, n * sizeof *p);
}
