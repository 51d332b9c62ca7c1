/*
 * predict.c - `detent predict`: scores of images in a file, by any engine, and values of the network.
 */
#include "cli.h"

#include <stdio.h>

static dt_status open_engine(const settings *s, session *o)
{
    dt_model *m;
    int is_program;

    DT_TRY(session_wants_program(s, &is_program));
    if (!is_program) return session_open_checkpoint(s, o);
    DT_TRY(session_open_program(s, o));
    DT_TRY(dt_program_model(o->ctx, o->program, s->engine == ENGINE_ARRAY ? &s->array : NULL, &m));
    dt_model_destroy(o->model);
    o->model = m;
    return DT_OK;
}

static dt_status predict(const settings *s, session *o)
{
    char path[PATH_BYTES];
    const char *name;
    progress bar;

    DT_TRY(open_engine(s, o));
    session_split_inputs(s->inputs, path, &name);
    progress_begin(&bar, s->quiet);
    progress_task task = { .bar = &bar, .what = "predicting", .begin = clock_seconds() };
    const dt_progress ticks = { .tick = progress_tick, .user = &task };
    const dt_status status = dt_predict_file(o->model, path, name, s->layer, &ticks, s->out);
    progress_wipe(&bar);
    DT_TRY(status);
    fprintf(report_stream(s->out), "scores of %s by %s (%s, engine %s), to %s\n", s->inputs, s->checkpoint,
            dt_context_backend(o->ctx), session_engine(s, o).s, s->out);
    return DT_OK;
}

dt_status predict_run(const settings *s, int *exit_code)
{
    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(need_option("inputs", s->inputs));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    return session_run(s, predict);
}
