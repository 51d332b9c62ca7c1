/*
 * tflite_codes.c - codes of an int8 file: their scales, their ranges, and what brings them from one to another.
 *
 * Codes are q - zero point, so that the codes of an int8 tensor are -128 - zero .. 127 - zero, and code 0 is real 0. A
 * fused ReLU raises the lowest code to 0, and a fused ReLU6 lowers the highest to 6 / scale, in f32, rounded half away
 * from zero. Files of uint8 have the same codes: q and zero point are both 128 higher.
 *
 * Tensors of equal scale share the parameter that holds it, so that CONCAT stays on the grid.
 */
#include "tflite_codes.h"

#include "../../quant/program/program_build.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* ---- scales and ranges ---- */

dt_status dt_tflite_check_codes(const dt_tflite_import *imp, const dt_tflite_operator *o, const dt_tflite_tensor *t)
{
    DT_TFLITE_CHECK((t->type == DT_TFLITE_INT8 || t->type == DT_TFLITE_UINT8) && t->n_scales == 1, DT_ERR_UNSUPPORTED,
                    imp, o, "'%.80s' is %s with %d scales; needed is INT8 with 1", t->name,
                    dt_tflite_type_name((int)t->type), t->n_scales);
    return DT_OK;
}

int dt_tflite_zero(const dt_tflite_tensor *t)
{
    return t->zero[0] - (t->type == DT_TFLITE_UINT8 ? -INT8_MIN : 0);
}

void dt_tflite_range(const dt_tflite_tensor *t, int fused, int *low, int *high)
{
    *low = (t->type == DT_TFLITE_UINT8 ? 0 : INT8_MIN) - t->zero[0];
    *high = *low + DT_TFLITE_CODES - 1;
    if (fused != DT_TFLITE_FUSED_NONE && *low < 0) *low = 0;
    if (fused == DT_TFLITE_FUSED_RELU6) {
        const float six = roundf(6.0f / t->scale[0]); /* half away from zero */
        if (six < (float)*high) *high = (int)six;
    }
}

/* 1 if the codes of both have one scale and one range. */
static int same_codes(const dt_tflite_tensor *a, const dt_tflite_tensor *b)
{
    int low[2], high;

    dt_tflite_range(a, 0, &low[0], &high);
    dt_tflite_range(b, 0, &low[1], &high);
    return a->scale[0] == b->scale[0] && low[0] == low[1];
}

dt_status dt_tflite_check_same(const dt_tflite_import *imp, const dt_tflite_operator *o, int k)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, k), *y = dt_tflite_out(imp, o);

    DT_TRY(dt_tflite_check_codes(imp, o, y));
    DT_TFLITE_CHECK(same_codes(x, y), DT_ERR_FORMAT, imp, o,
                    "input %d has the scale %.9g and zero point %" PRId32 ", the output %.9g and %" PRId32
                    "; they must be equal",
                    k, (double)x->scale[0], x->zero[0], (double)y->scale[0], y->zero[0]);
    return DT_OK;
}

dt_status dt_tflite_add_state(dt_tflite_import *imp, const char *part, const dt_shape *shape, dt_dtype type, void *data,
                              int *out)
{
    dt_param_spec spec = dt_program_spec(shape);

    if (type == DT_I32) spec.type = DT_I32;
    DT_TRY(dt_tflite_add_param(imp, part, &spec, type, data, out));
    return DT_OK;
}

dt_status dt_tflite_add_scale(dt_tflite_import *imp, int tensor, int *scale)
{
    const dt_tflite_tensor *t = &imp->m->tensor[tensor];
    const dt_shape one = dt_vector(1);

    for (int i = 0; i < imp->m->n_tensors && imp->scale[tensor] < 0; i++) {
        if (imp->scale[i] >= 0 && imp->m->tensor[i].scale[0] == t->scale[0]) imp->scale[tensor] = imp->scale[i];
    }
    if (imp->scale[tensor] < 0)
        DT_TRY(dt_tflite_add_state(imp, ".act_scale", &one, DT_F32, dt_program_one(t->scale[0]), &imp->scale[tensor]));
    *scale = imp->scale[tensor];
    return DT_OK;
}

/* ---- inputs and outputs ---- */

dt_status dt_tflite_codes(dt_tflite_import *imp, const dt_tflite_operator *o, int k, int *value, int *scale)
{
    DT_TRY(dt_tflite_map(imp, o, k, value));
    DT_TRY(dt_tflite_check_codes(imp, o, dt_tflite_in(imp, o, k)));
    DT_TFLITE_CHECK(imp->padded[o->in[k]] < 0, DT_ERR_UNSUPPORTED, imp, o,
                    "input %d comes from a PAD, which is understood before a convolution alone", k);
    *scale = imp->scale[o->in[k]];
    return DT_OK;
}

dt_status dt_tflite_check_last(const dt_tflite_import *imp, const dt_tflite_operator *o, int k, int x)
{
    const dt_tflite_tensor *t = dt_tflite_in(imp, o, k);
    const dt_shape *s = dt_graph_shape(imp->graph, x);

    DT_TFLITE_CHECK(
        t->dim[t->n_dims - 1] == s->dim[s->ndim - 1], DT_ERR_UNSUPPORTED, imp, o,
        "input %d has %d numbers of a map of %lld channels, which are flat; on codes this is not understood", k,
        t->dim[t->n_dims - 1], (long long)s->dim[s->ndim - 1]);
    return DT_OK;
}

dt_status dt_tflite_add_requantize(dt_tflite_import *imp, const dt_tflite_operator *o, const dt_requantize_params *of,
                                   int *in, int n)
{
    const dt_tflite_tensor *t = dt_tflite_out(imp, o);
    dt_requantize_params params = *of;
    int y;

    DT_TRY(dt_tflite_check_codes(imp, o, t));
    params.profile = DT_TFLITE_PROFILE;
    params.zero = dt_tflite_zero(t);
    dt_tflite_range(t, o->options.fused, &params.low, &params.high);
    if (o->code == DT_TFLITE_RELU) dt_tflite_range(t, DT_TFLITE_FUSED_RELU, &params.low, &params.high);
    if (o->code == DT_TFLITE_RELU6) dt_tflite_range(t, DT_TFLITE_FUSED_RELU6, &params.low, &params.high);
    DT_TRY(dt_tflite_add_scale(imp, o->out, &in[2]));
    DT_TRY(dt_tflite_node(imp, DT_OP_REQUANTIZE, ".act_quant", &params, in, n, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

/* ---- between scales ---- */

dt_status dt_tflite_add_rescale(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_requantize_params of = { .of = DT_REQUANT_CODES, .count = 1 };
    int in[3];

    DT_TRY(dt_tflite_codes(imp, o, 0, &in[0], &in[1]));
    DT_TRY(dt_tflite_add_requantize(imp, o, &of, in, 3));
    return DT_OK;
}

/* Gives the output the scale of the first input, *x, whose codes it must have. */
static dt_status keep_scale(dt_tflite_import *imp, const dt_tflite_operator *o, int *x)
{
    int scale = -1;

    DT_TRY(dt_tflite_codes(imp, o, 0, x, &scale));
    DT_TRY(dt_tflite_check_same(imp, o, 0));
    imp->scale[o->out] = scale;
    return DT_OK;
}

dt_status dt_tflite_add_same(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x = -1;

    DT_TRY(keep_scale(imp, o, &x));
    return dt_tflite_reshape(imp, o, x);
}

dt_status dt_tflite_add_codes_transpose(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x;

    DT_TRY(keep_scale(imp, o, &x));
    return dt_tflite_add_transpose(imp, o);
}

dt_status dt_tflite_add_codes_pad(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x;

    DT_TRY(keep_scale(imp, o, &x));
    return dt_tflite_add_pad(imp, o);
}

/* Adds a QUANTIZE of the image, whose codes are those of a tensor. */
static dt_status quantize_image(dt_tflite_import *imp, int tensor)
{
    dt_quantize_params params = { .profile = DT_TFLITE_PROFILE };
    int in[2] = { imp->graph->image };

    snprintf(imp->name, sizeof imp->name, "image");
    params.zero = dt_tflite_zero(&imp->m->tensor[tensor]);
    dt_tflite_range(&imp->m->tensor[tensor], 0, &params.low, &params.high);
    DT_TRY(dt_tflite_add_scale(imp, tensor, &in[1]));
    DT_TRY(dt_tflite_node(imp, DT_OP_QUANTIZE, ".codes", &params, in, 2, &imp->value[tensor]));
    return DT_OK;
}

dt_status dt_tflite_add_quantize(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    const dt_tflite_tensor *x = dt_tflite_in(imp, o, 0), *y = dt_tflite_out(imp, o);

    DT_TRY(dt_tflite_check_codes(imp, o, y));
    if (x->type != DT_TFLITE_FLOAT32) {
        DT_TRY(dt_tflite_check_codes(imp, o, x));
        return same_codes(x, y) ? dt_tflite_add_same(imp, o) : dt_tflite_add_rescale(imp, o);
    }
    DT_TFLITE_CHECK(o->in[0] == imp->m->in[0], DT_ERR_UNSUPPORTED, imp, o,
                    "it quantizes '%.80s'; understood is the file's input", x->name);
    DT_TRY(quantize_image(imp, o->out));
    DT_TRY(dt_tflite_output(imp, o, imp->value[o->out]));
    return DT_OK;
}

/* Adds a DEQUANTIZE of the codes x. */
static dt_status dequantize(dt_tflite_import *imp, int x, int *reals)
{
    char name[DT_NAME_MAX + 1];

    snprintf(name, sizeof name, "%s.real", dt_graph_name(imp->graph, x));
    DT_TRY(dt_graph_add(imp->graph, DT_OP_DEQUANTIZE, name, NULL, &x, 1, reals));
    return DT_OK;
}

dt_status dt_tflite_add_dequantize(dt_tflite_import *imp, const dt_tflite_operator *o)
{
    int x, y, scale = -1;

    DT_TRY(dt_tflite_codes(imp, o, 0, &x, &scale));
    DT_TFLITE_CHECK(o->out == imp->m->out[0], DT_ERR_UNSUPPORTED, imp, o,
                    "it makes reals of tensor %d before the end; understood is at the file's output", o->in[0]);
    DT_TRY(dequantize(imp, x, &y));
    DT_TRY(dt_tflite_output(imp, o, y));
    return DT_OK;
}

dt_status dt_tflite_begin_integer(dt_tflite_import *imp)
{
    const int image = imp->m->in[0];
    const dt_tflite_tensor *t = &imp->m->tensor[image];

    if (t->type == DT_TFLITE_FLOAT32) return DT_OK;
    DT_CHECK((t->type == DT_TFLITE_INT8 || t->type == DT_TFLITE_UINT8) && t->n_scales == 1, DT_ERR_UNSUPPORTED,
             "%s: the input '%.80s' is %s with %d scales; understood are FLOAT32, and INT8 or UINT8 with 1", imp->path,
             t->name, dt_tflite_type_name((int)t->type), t->n_scales);
    DT_TRY(quantize_image(imp, image));
    return DT_OK;
}

dt_status dt_tflite_end_integer(dt_tflite_import *imp)
{
    const int last = imp->m->out[0];

    if (imp->m->tensor[last].type == DT_TFLITE_FLOAT32) return DT_OK;
    return dequantize(imp, imp->value[last], &imp->value[last]);
}
