/* Matches in the windows of a sliding score; the rule is that of Exact in reference.py. */
#include "matching.h"

#define FAR INT32_MAX /* farther back than any position that is kept */

typedef struct {
    int32_t token;
    int32_t back;  /* how far back the same token was last, or FAR */
    int32_t since; /* how far back the document began, or FAR where none did */
} place;

typedef struct {
    place *places;      /* that of position p is number p & mask */
    int64_t *last;      /* (V) where each token was last, below −FAR where it was not */
    int32_t *proposals; /* room for those of one position */
    int64_t mask, length, first; /* positions first .. length − 1 are kept */
} text;

static place *at(const text *t, int64_t position) { return t->places + (position & t->mask); }

static void append(text *t, const rule *r, int32_t token) {
    int64_t g = t->length++, back = g - t->last[token];
    int32_t since = g ? at(t, g - 1)->since : FAR;
    since += since != FAR;
    if (token == r->document_start || since == r->longest_document) since = 0;
    *at(t, g) = (place){token, back < FAR ? back : FAR, since};
    t->last[token] = g;
}

/* Tokens that the texts up to p and up to g, which end alike, have in common; `most` or 1 at most. */
static int32_t common(const text *t, int64_t p, int64_t g, int64_t most) {
    int32_t count = 1;
    while (count < most && at(t, p - count)->token == at(t, g - count)->token) count++;
    return count;
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/* Writes the match at the latest position to entry i. */
static void match(text *t, const rule *r, matches *found, int64_t i) {
    int64_t g = t->length - 1, gone = g - r->window;
    int64_t start = gone < 0 ? 0 : r->stride * (gone / r->stride + 1);
    int32_t since = at(t, start)->since;
    t->first = since == FAR ? start : start - since;
    int32_t length = 0, kept = 0, proposal = 0, votes = 0;
    bool cross = false;
    int64_t seen = 0;
    for (int64_t p = g - at(t, g)->back; p >= t->first && seen < r->occurrences; p -= at(t, p)->back) {
        bool lost = p < start;
        if (p == g - 1 || (lost && p >= gone)) continue;
        seen++;
        int64_t reach = least(p - (lost ? t->first : start), g - start);
        int32_t own = common(t, p, g, least(reach, r->max_match));
        if (own < r->min_match) continue;
        int32_t next = at(t, p + 1)->token;
        t->proposals[kept++] = next;
        if (own > length || (own == length && lost == cross)) length = own, cross = lost, proposal = next;
    }
    for (int32_t k = 0; k < kept; k++) votes += t->proposals[k] == proposal;
    found->hint[i] = kept ? proposal : -1;
    found->length[i] = length, found->votes[i] = votes, found->cross[i] = cross;
}

void advance(text *t, const rule *r, const int64_t *ids, int64_t count, matches *found) {
    for (int64_t i = 0; i < count; i++) {
        append(t, r, ids[i]);
        match(t, r, found, i);
    }
}
