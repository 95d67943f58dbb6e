/* Tensor elements, bfloat16 where BF16 is set and float32 otherwise, as vectors of LANES floats. */
#pragma once
#include "vector.h"

#if BF16
typedef uint16_t element;
typedef uint16_t half_vec __attribute__((vector_size(2 * LANES), aligned(2), may_alias));

static inline vec load_elements(const element *p) {
#if AVX512 /* one instruction, where the portable form takes gcc five */
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif AVX2
    return (vec)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
#else
    return (vec)(__builtin_convertvector(*(const half_vec *)p, vec_bits) << 16);
#endif
}

static inline void store_elements(element *p, vec x) {
#if AVX512 && defined __AVX512BF16__
    __m256bh half = _mm512_cvtneps_pbh((__m512)x);
    memcpy(p, &half, sizeof half);
#else
    vec_bits bits = (vec_bits)x, even = bits + 0x7fff + ((bits >> 16) & 1);
    vec_bits kept = (vec_bits)choose(x == x, (vec)even, (vec)(bits | 0x400000)) >> 16; /* NaN stays NaN */
#if AVX2
    __m256i wide = (__m256i)kept;
    __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
    _mm_storeu_si128((__m128i *)p, half);
#else
    *(half_vec *)p = __builtin_convertvector(kept, half_vec);
#endif
#endif
}
#else
typedef float element;
static inline vec load_elements(const element *p) { return load(p); }
static inline void store_elements(element *p, vec x) { store(p, x); }
#endif

/* The first n of LANES elements, zeros behind them. */
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
