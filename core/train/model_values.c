/*
 * model_values.c - checks that a model's parameters have values with which its network can compute.
 *
 * A quantizer, a ReLU or a maximum turns a NaN into a plausible number. So parameters are checked before they are used,
 * loaded or saved. Each value must be finite; clips and learned steps must be above 0, and running variances must not
 * be below 0 (dt_param.values). The parameters of a program are checked by dt_program_check instead.
 *
 * Interface: model.h.  Tests: tests/core/test_model_values.c.
 */
#include "model.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCK = 4096 }; /* values that are looked at together */

static int is_allowed(dt_param_values values, float v)
{
    switch (values) {
    case DT_VALUES_FINITE: return isfinite(v);
    case DT_VALUES_POSITIVE: return isfinite(v) && v > 0.0f;
    case DT_VALUES_NOT_NEGATIVE: return isfinite(v) && v >= 0.0f;
    case DT_VALUES_ANY: break;
    }
    return 1;
}

/* No branch, so that the loop vectorises. */
static int all_finite(const float *v, int64_t n)
{
    int bad = 0;

    for (int64_t i = 0; i < n; i++) bad |= !(fabsf(v[i]) <= FLT_MAX);
    return !bad;
}

/* Of the first value that is not allowed; n if there is none. */
static int64_t find_bad(dt_param_values values, const float *v, int64_t n)
{
    for (int64_t first = 0; first < n; first += BLOCK) {
        const int64_t end = n - first < BLOCK ? n : first + BLOCK;
        if (values == DT_VALUES_FINITE && all_finite(v + first, end - first)) continue;
        for (int64_t i = first; i < end; i++) {
            if (!is_allowed(values, v[i])) return i;
        }
    }
    return n;
}

/* A value that `values` does not allow, at `at` of n. */
typedef struct {
    const char *name;
    dt_param_values values;
    int64_t at, n;
    float value;
} bad_value;

static dt_status raise_bad(const bad_value *b, const dt_values_words *words)
{
    static const dt_values_words none;
    static const char *const wanted[] = { [DT_VALUES_FINITE] = "a finite number",
                                          [DT_VALUES_POSITIVE] = "a number above 0",
                                          [DT_VALUES_NOT_NEGATIVE] = "0 or more",
                                          [DT_VALUES_ANY] = "anything" };
    const dt_values_words *w = words ? words : &none;
    char index[32] = "";

    if (b->n > 1) snprintf(index, sizeof index, "[%lld]", (long long)b->at);
    return dt_raise(DT_ERR_NUMERIC, __FILE__, __LINE__, "%s%s%s is %g, expected %s%s", w->before ? w->before : "",
                    b->name, index, (double)b->value, wanted[b->values], w->after ? w->after : "");
}

dt_status dt_values_check(const char *name, dt_param_values values, const float *v, int64_t n,
                          const dt_values_words *words)
{
    const int64_t at = find_bad(values, v, n);

    if (at == n) return DT_OK;
    const bad_value bad = { name, values, at, n, v[at] };
    return raise_bad(&bad, words);
}

/* From an index into filters K,R,S,C to the one into K,C,R,S. */
static int64_t index_in_file(const dt_shape *s, int64_t i)
{
    if (s->ndim != 4) return i;
    const int64_t taps = s->dim[1] * s->dim[2], channels = s->dim[3];
    const int64_t channel = i % channels, tap = i / channels % taps, filter = i / channels / taps;

    return (filter * channels + channel) * taps + tap;
}

static dt_status check_param(const dt_model *m, int i, float *room, const dt_values_words *words)
{
    const dt_param *p = m->param[i];
    const int64_t n = dt_count(&p->tensor.shape);

    DT_TRY(dt_model_read(m, i, room));
    const int64_t at = find_bad(p->values, room, n);
    if (at == n) return DT_OK;
    const bad_value bad = { p->name, p->values, index_in_file(&p->tensor.shape, at), n, room[at] };
    return raise_bad(&bad, words);
}

dt_status dt_model_check_values(const dt_model *m, const dt_values_words *words)
{
    size_t largest = 1;

    for (int i = 0; i < m->n_params; i++) {
        const size_t bytes = dt_tensor_bytes(&m->param[i]->tensor);
        if (bytes > largest) largest = bytes;
    }
    float *room = malloc(largest);
    DT_CHECK(room, DT_ERR_MEMORY, "no memory to look at the parameters of %s", m->graph->name);
    dt_status status = DT_OK;
    for (int i = 0; i < m->n_params && status == DT_OK; i++) {
        if (m->param[i]->values != DT_VALUES_ANY) status = check_param(m, i, room, words);
    }
    free(room);
    return status;
}
