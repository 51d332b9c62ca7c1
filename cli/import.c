/*
 * import.c - `detent import`: a TensorFlow Lite or an ONNX file as one of detent's: a network of reals becomes a
 *            checkpoint, one of integers a program.
 */
#include "cli.h"

#include <string.h>

static dt_status import_network(const settings *s, session *o)
{
    FILE *const to = report_stream(s->out);
    dt_model_info is;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(dt_model_save(o->model, s->out, NULL));
    dt_model_look(o->model, &is);
    fprintf(to, "%s: %s, a checkpoint of reals: images of %s, %d classes, %s weights\n", s->out, is.name,
            text_size(1, is.height, is.width, is.channels).s, is.n_classes, text_count(dt_model_count(o->model)).s);
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

dt_status import_run(const settings *s, int *exit_code)
{
    char format[VALUE_BYTES];
    session o = { 0 };

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    DT_TRY(dt_file_format(s->checkpoint, format, sizeof format));
    const int is_foreign = strncmp(format, "tflite", 6) == 0 || strncmp(format, "onnx", 4) == 0;
    DT_CHECK(is_foreign, DT_ERR_FORMAT,
             "%s: is a file of the format '%s'; a TensorFlow Lite or an ONNX file is imported", s->checkpoint, format);
    const dt_status status = strstr(format, "-integer") ? import_program(s, &o) : import_network(s, &o);
    session_close(&o);
    return status;
}
