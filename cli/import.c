/*
 * import.c - `detent import`: a TensorFlow Lite or an ONNX file as one of detent's: a network of reals becomes a
 * checkpoint, one of integers a program. Or, with --model and --init, values that PyTorch has saved become a
 * checkpoint.
 */
#include "cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dt_status import_network(const settings *s, session *o)
{
    FILE *const to = report_stream(s->out);
    char name[DT_MODEL_TEXT_BYTES];
    dt_model_info is;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(dt_model_save(o->model, s->out, NULL));
    dt_model_look(o->model, &is);
    dt_model_describe(o->model, name);
    const int is_real = is.wbits_most == DT_BITS_FLOAT && is.abits_most == DT_BITS_FLOAT;
    fprintf(to, "%s: %s, a checkpoint%s: images of %s, %d classes, %s weights\n", s->out, is_real ? is.name : name,
            is_real ? " of reals" : "", text_size(1, is.height, is.width, is.channels).s, is.n_classes,
            text_count(dt_model_count(o->model)).s);
    return DT_OK;
}

static dt_status import_program(const settings *s, session *o)
{
    FILE *const to = report_stream(s->out);
    dt_program_info is;

    DT_TRY(dt_program_load(s->checkpoint, &o->program));
    DT_TRY(dt_program_save(o->program, s->out));
    dt_program_describe(o->program, &is);
    fprintf(to, "%s: %s, an integer program, %s: images of %s, %d classes, %d layers, %s weight codes\n", s->out,
            is.name, session_profile(o), text_size(1, is.height, is.width, is.channels).s, is.n_classes, is.n_layers,
            text_count(is.n_weights).s);
    return DT_OK;
}

static void print_skipped(void *user, const char *name, const char *why)
{
    fprintf(stderr, "detent import: %s: skipped %s: %s\n", (const char *)user, name, why);
}

/* Every parameter of the network must be there; what else the file has is left out, and said. */
static dt_status import_values(const settings *s, session *o)
{
    char *path = strdup(s->init);
    int n_loaded = 0;

    DT_CHECK(path, DT_ERR_MEMORY, "no memory for the name of %s", s->init);
    dt_status status = session_open_context(s, o);
    if (status == DT_OK) status = session_create_model(s, &s->model, o);
    if (status == DT_OK) status = dt_checkpoint_load_partial(o->model, path, print_skipped, path, &n_loaded);
    free(path);
    DT_TRY(status);
    DT_CHECK(n_loaded == dt_model_n_params(o->model), DT_ERR_SHAPE,
             "%s: has %d of the %d parameters of %s; the lines before name the others", s->init, n_loaded,
             dt_model_n_params(o->model), text_network(o->model).s);
    DT_TRY(dt_model_save(o->model, s->out, NULL));
    fprintf(report_stream(s->out), "%s: %s, a checkpoint: %d parameters, %s weights\n", s->out,
            text_network(o->model).s, n_loaded, text_count(dt_model_count(o->model)).s);
    return DT_OK;
}

static dt_status import_file(const settings *s, session *o)
{
    char format[VALUE_BYTES];

    DT_TRY(dt_file_format(s->checkpoint, format, sizeof format));
    DT_CHECK(strncmp(format, "tflite", 6) == 0 || strncmp(format, "onnx", 4) == 0, DT_ERR_FORMAT,
             "%s: is a file of the format '%s'; a TensorFlow Lite or an ONNX file is imported, and with --model and "
             "--init the values that PyTorch has saved",
             s->checkpoint, format);
    return strstr(format, "-integer") ? import_program(s, o) : import_network(s, o);
}

dt_status import_run(const settings *s, int *exit_code)
{
    DT_CHECK(s->init || s->checkpoint, DT_ERR_ARGUMENT,
             "name a file, .tflite or .onnx; or, with --model, the values of its network by --init");
    DT_CHECK(!s->init || !s->checkpoint, DT_ERR_ARGUMENT,
             "--checkpoint %s is a whole network, and --init %s the values of one that --model names; give one of them",
             s->checkpoint, s->init);
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    return session_run(s, s->init ? import_values : import_file);
}
