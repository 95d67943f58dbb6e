/* Matches in the whole of a document, by its suffix automaton as it grows; the rule is that of Document in
   reference.py.

   A state stands for the texts that end at the same positions of the document. The latest state is the whole
   document; its link leads to the longest end of it that was there before (Blumer et al. 1985, "The smallest
   automaton recognizing the subwords of a text"). */
#include "matching.h"

enum { NONE = -1, ROOT = 0 };

typedef struct {
    int32_t token;
    int32_t gram;  /* where the gram of min_match + 1 tokens that ends here ended first */
    int32_t count; /* how often the gram that ended first here has ended */
} place;

typedef struct {
    int32_t length; /* of the longest of its texts */
    int32_t link;   /* the state of the longest end of these that is none of them */
    int32_t end;    /* the first position where they end */
    int32_t edges;  /* the latest of the edges that leave it */
} state;

typedef struct {
    int32_t from, token, to;
    int32_t next;    /* of those that leave the same state */
    int32_t chained; /* the next in its bucket */
} edge;

typedef struct {
    place *places;
    state *states;
    edge *edges;
    int32_t *buckets;
    int64_t bits;    /* of the number of a bucket */
    int64_t length;  /* tokens of the document */
    int64_t n_states, n_edges;
    int64_t latest;
} automaton;

static int32_t *bucket(const automaton *a, int32_t from, int32_t token) {
    uint64_t key = (uint64_t)from << 32 | (uint32_t)token;
    return a->buckets + (key * 0x9E3779B97F4A7C15u >> (64 - a->bits));
}

static edge *find(const automaton *a, int32_t from, int32_t token) {
    for (int32_t e = *bucket(a, from, token); e != NONE; e = a->edges[e].chained)
        if (a->edges[e].from == from && a->edges[e].token == token) return a->edges + e;
    return NULL;
}

static void chain(automaton *a, int32_t e) {
    int32_t *first = bucket(a, a->edges[e].from, a->edges[e].token);
    a->edges[e].chained = *first;
    *first = e;
}

static void connect(automaton *a, int32_t from, int32_t token, int32_t to) {
    int32_t e = a->n_edges++;
    a->edges[e] = (edge){from, token, to, a->states[from].edges, NONE};
    a->states[from].edges = e;
    chain(a, e);
}

static int32_t add_state(automaton *a, int32_t length, int32_t link, int32_t end) {
    a->states[a->n_states] = (state){length, link, end, NONE};
    return a->n_states++;
}

/* An empty document. */
static void clear(automaton *a) {
    for (int64_t e = 0; e < a->n_edges; e++) *bucket(a, a->edges[e].from, a->edges[e].token) = NONE;
    a->length = a->n_states = a->n_edges = 0;
    a->latest = add_state(a, 0, NONE, NONE);
}

/* The state whose longest text is that of `from` and the edge's token: where the edge leads, or a copy of
   that state with its shorter texts, which then end where the longer ones do not. */
static int32_t exactly(automaton *a, int32_t from, edge *met) {
    int32_t whole = met->to, token = met->token, length = a->states[from].length + 1;
    if (a->states[whole].length == length) return whole;
    int32_t shorter = add_state(a, length, a->states[whole].link, a->states[whole].end);
    for (int32_t e = a->states[whole].edges; e != NONE; e = a->edges[e].next)
        connect(a, shorter, a->edges[e].token, a->edges[e].to);
    a->states[whole].link = shorter;
    do {
        met->to = shorter;
        from = a->states[from].link;
    } while (from != NONE && (met = find(a, from, token))->to == whole);
    return shorter;
}

static void append(automaton *a, int32_t token) {
    int32_t end = a->length++, from = a->latest;
    edge *met = NULL;
    a->latest = add_state(a, end + 1, ROOT, end);
    for (; from != NONE && !(met = find(a, from, token)); from = a->states[from].link)
        connect(a, from, token, a->latest);
    if (met) a->states[a->latest].link = exactly(a, from, met);
    a->places[end] = (place){token, end, 0};
}

/* Writes the match at the latest position to entry i. */
static void match(automaton *a, const rule *r, matches *found, int64_t i) {
    state before = a->states[a->states[a->latest].link];
    int64_t g = a->length - 1;
    if (before.length > r->min_match) a->places[g].gram = a->places[before.end].gram;
    a->places[a->places[g].gram].count++;
    if (before.length < r->min_match) {
        found->hint[i] = -1, found->length[i] = found->votes[i] = found->cross[i] = 0;
        return;
    }
    place next = a->places[before.end + 1];
    found->hint[i] = next.token;
    found->length[i] = before.length < r->max_match ? before.length : r->max_match;
    found->votes[i] = a->places[next.gram].count;
    found->cross[i] = before.end <= g - r->window;
}

void advance(automaton *a, const rule *r, const int64_t *ids, int64_t count, matches *found) {
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] == r->document_start || a->length == r->longest_document || !a->n_states) clear(a);
        append(a, ids[i]);
        match(a, r, found, i);
    }
}

/* Sorts the edges into new buckets, which are all empty. */
void rehash(automaton *a) {
    for (int64_t e = 0; e < a->n_edges; e++) chain(a, e);
}
