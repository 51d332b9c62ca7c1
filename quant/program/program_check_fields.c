/*
 * program_check_fields.c - checks of one field or one parameter of a program's node: see program_check.c.
 */
#include "program_checks.h"

#include <math.h>

dt_status dt_check_within(const dt_checked_node *v, const char *field, int64_t value, int64_t least, int64_t most)
{
    DT_CHECK(value >= least && value <= most, DT_ERR_FORMAT, "%s (%s): %s is %lld, allowed are %lld..%lld", v->name,
             v->kind, field, (long long)value, (long long)least, (long long)most);
    return DT_OK;
}

dt_status dt_check_equals(const dt_checked_node *v, const char *field, int64_t value, int64_t wanted)
{
    DT_CHECK(value == wanted, DT_ERR_FORMAT, "%s (%s): %s is %lld, expected %lld", v->name, v->kind, field,
             (long long)value, (long long)wanted);
    return DT_OK;
}

static const char *type_text(dt_dtype type)
{
    switch (type) {
    case DT_I8: return "i8";
    case DT_I16: return "i16";
    case DT_I32: return "i32";
    case DT_I64: return "i64";
    case DT_F32: return "f32";
    default: return "another";
    }
}

dt_status dt_check_data(const dt_checked_node *v, int value, const char *field, dt_dtype type)
{
    const dt_graph_value *of = v->g->value[value];

    DT_CHECK(of->data, DT_ERR_FORMAT, "%s (%s): there is no %s", v->name, v->kind, field);
    DT_CHECK(of->data_type == type, DT_ERR_FORMAT, "%s (%s): %s is of the type %s, expected %s", v->name, v->kind,
             field, type_text(of->data_type), type_text(type));
    return DT_OK;
}

dt_status dt_check_shared_param(const dt_checked_node *v, int k, const char *field, dt_dtype type)
{
    const dt_graph_value *of = v->g->value[v->n->in[k]];
    const dt_param_spec *is = &of->param, wanted = dt_program_spec(&of->facts.shape);

    DT_CHECK(of->source == DT_SOURCE_PARAM, DT_ERR_FORMAT, "%s (%s): %s is %s, expected a parameter", v->name, v->kind,
             field, of->name);
    DT_CHECK(is->group == wanted.group && is->values == wanted.values && is->init == wanted.init &&
                 is->init_value == wanted.init_value && is->floor == wanted.floor,
             DT_ERR_FORMAT, "%s (%s): %s is a parameter that is trained; those of programs are state, of any values",
             v->name, v->kind, of->name);
    return dt_check_data(v, v->n->in[k], field, type);
}

dt_status dt_check_param(const dt_checked_node *v, int k, const char *field, dt_dtype type)
{
    DT_CHECK(v->read[v->n->in[k]] == 1, DT_ERR_FORMAT, "%s (%s): %s is %s, expected a parameter of its own", v->name,
             v->kind, field, dt_graph_name(v->g, v->n->in[k]));
    return dt_check_shared_param(v, k, field, type);
}

dt_status dt_check_numbers(const dt_checked_node *v, int value, const char *field, float above)
{
    const float *number = v->g->value[value]->data;
    const int64_t n = dt_count(dt_graph_shape(v->g, value));

    for (int64_t i = 0; i < n; i++) {
        DT_CHECK(isfinite(number[i]) && number[i] > above, DT_ERR_FORMAT,
                 "%s (%s): %s[%lld] is %g, expected a number%s", v->name, v->kind, field, (long long)i,
                 (double)number[i], above == 0.0f ? " above 0" : "");
    }
    return DT_OK;
}

dt_status dt_check_param_numbers(const dt_checked_node *v, int k, const char *field, float above)
{
    DT_TRY(dt_check_param(v, k, field, DT_F32));
    return dt_check_numbers(v, v->n->in[k], field, above);
}

dt_status dt_check_scale(const dt_checked_node *v, int k)
{
    DT_TRY(dt_check_shared_param(v, k, "scale", DT_F32));
    return dt_check_numbers(v, v->n->in[k], "scale", 0.0f);
}
