/*
 * buckets.c - see buckets.h. Tests: tests/core/test_buckets.c.
 */
#include "buckets.h"

int dt_buckets_of(const dt_tape *tape, const dt_model *m, dt_bucket *out, int room)
{
    int64_t end = m->n_trained;
    int n = 0, last = dt_tape_n_nodes(tape); /* no node has run yet */

    for (int i = m->n_params - 1; i >= 0 && end > 0; i--) {
        const dt_param *p = m->param[i];
        if (p->group == DT_GROUP_STATE) continue;
        const int adder = dt_tape_last_adder(tape, &p->tensor);
        if (adder >= 0 && adder < last) last = adder;
        if (p->first > 0 && (n == room - 1 || 2 * (end - p->first) < end)) continue;
        out[n++] = (dt_bucket){ .last = last < dt_tape_n_nodes(tape) ? dt_tape_node(tape, last) : NULL,
                                .first = p->first,
                                .count = end - p->first };
        end = p->first;
    }
    return n;
}
