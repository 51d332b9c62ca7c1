/*
 * capture.c - `detent capture`: writes what a convolution reads and makes for some images to a file, as integers; or
 *             with --reconstruct a picture (reconstruct.c).
 *
 * `detent verify` compares these integers.
 */
#include "cli.h"

#include <stdio.h>

static dt_status save_layer(const settings *s, const session *o, const image_range *range)
{
    dt_capture *c;

    DT_TRY(dt_capture_layer(o->model, o->test_set, range->first, range->count, s->layer, &c));
    FILE *const to = report_stream(s->out);
    const dt_status status = dt_capture_save(c, s->layer, s->out);
    if (status == DT_OK) {
        fprintf(to, "%s: %s images, codes %s, psums %s, to %s\n", s->layer, text_count(c->n).s,
                text_size(c->maps, c->height, c->width, c->channels).s,
                text_size(c->maps, c->out_height, c->out_width, c->filters).s, s->out);
    }
    dt_capture_destroy(c);
    return status;
}

static dt_status capture(const settings *s, session *o)
{
    dt_dataset_view view;
    image_range range;

    DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
    DT_TRY(session_find_layer(o, s->layer, 0));
    dt_dataset_look(o->test_set, &view);
    DT_TRY(session_range(s, view.n, &range));
    return save_layer(s, o, &range);
}

dt_status capture_run(const settings *s, int *exit_code)
{
    DT_TRY(need_option("checkpoint", s->checkpoint));
    if (!s->reconstruct) DT_TRY(need_option("layer", s->layer));
    DT_TRY(need_option("out", s->out));
    *exit_code = EXIT_GOOD;
    return session_run(s, s->reconstruct ? reconstruct : capture);
}
