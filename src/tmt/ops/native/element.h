/* Tensor elements, bfloat16 where BF16 is set and float32 otherwise, as vectors of 16 floats. */
#pragma once
#include "vector.h"

#if BF16
typedef uint16_t element;
typedef uint16_t half_vec __attribute__((vector_size(32), aligned(2), may_alias));
static inline vec load_elements(const element *p) {
    return (vec)(__builtin_convertvector(*(const half_vec *)p, vec_bits) << 16);
}
static inline void store_elements(element *p, vec x) {
    vec_bits bits = (vec_bits)x, even = bits + 0x7fff + ((bits >> 16) & 1);
    vec_bits kept = (vec_bits)choose(x == x, (vec)even, (vec)(bits | 0x400000)); /* NaN stays NaN */
    *(half_vec *)p = __builtin_convertvector(kept >> 16, half_vec);
}
#else
typedef float element;
static inline vec load_elements(const element *p) { return load(p); }
static inline void store_elements(element *p, vec x) { store(p, x); }
#endif
