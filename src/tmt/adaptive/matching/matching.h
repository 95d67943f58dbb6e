/* What the matchers read and write: Rule and Matches of rule.py. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int64_t document_start, window, stride, min_match, max_match, occurrences, longest_document;
} rule;

typedef struct {
    int64_t *hint;
    int32_t *length, *votes;
    bool *cross;
} matches;
