/*
 * export.c - `detent export`: a checkpoint's integers for hardware: program, vectors for RTL, C.
 */
#include "cli.h"

#include <stdio.h>
#include <string.h>

static dt_status export_vectors(const settings *s, session *o)
{
    dt_dataset_view view;
    image_range range;
    dt_capture *c;
    int n_files = 0;

    DT_TRY(need_option("layer", s->layer));
    DT_TRY(session_open_checkpoint(s, o, NULL));
    DT_TRY(session_open_dataset(s, dt_model_get_config(o->model), DT_SPLIT_TEST, &o->test_set));
    DT_TRY(session_find_layer(o, s->layer, 0));
    dt_dataset_look(o->test_set, &view);
    DT_TRY(session_range(s, view.n, &range));
    DT_CHECK(range.count == 1, DT_ERR_ARGUMENT, "--index %s: vectors are of one image, as --index 3", s->index);
    DT_TRY(dt_capture_layer(o->model, o->test_set, range.first, 1, s->layer, &c));
    const dt_status status = dt_vectors_save(c, s->layer, &s->array, (dt_layout)s->layout, s->out, &n_files);
    dt_capture_destroy(c);
    DT_TRY(status);
    printf("%s, image %s: %d files and manifest.json in %s, layout %s\n", s->layer, text_count(range.first).s, n_files,
           s->out, dt_layout_names[s->layout]);
    return DT_OK;
}

static dt_status export_program(const settings *s, session *o)
{
    dt_program_info info;

    DT_TRY(session_open_program(s, o));
    dt_program_describe(o->program, &info);
    if (s->target == EXPORT_C) {
        DT_TRY(dt_program_write_c(o->program, s->out, s->name));
        printf("%s/%s.c and %s.h: ", s->out, s->name, s->name);
    } else {
        DT_TRY(dt_program_save(o->program, s->out));
        printf("%s: ", s->out);
    }
    printf("%d layers, %s weight codes, %s\n", info.n_layers, text_count(info.n_weights).s, text_bytes(info.bytes).s);
    return DT_OK;
}

dt_status export_run(const settings *s, int *exit_code)
{
    session o = { 0 };

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    const dt_status status = s->target == EXPORT_VECTORS ? export_vectors(s, &o) : export_program(s, &o);
    session_close(&o);
    return status;
}
