/*
 * session.c - opens what a subcommand works on: device, datasets, and the model of a checkpoint.
 */
#include "cli.h"

void session_close(session *o)
{
    dt_trainer_destroy(o->trainer);
    dt_model_destroy(o->model);
    dt_dataset_close(o->train_set);
    dt_dataset_close(o->test_set);
    dt_context_destroy(o->ctx);
    *o = (session){ 0 };
}

dt_status session_open_context(const settings *s, session *o)
{
    dt_options opt;

    dt_options_default(&opt);
    opt.backend = device_words[s->device];
    opt.device = s->gpu;
    opt.threads = s->threads;
    opt.precision = (dt_precision)s->precision;
    opt.seed = s->seed;
    opt.no_graph = s->no_graph;
    DT_TRY(dt_context_create(&opt, &o->ctx));
    return DT_OK;
}

dt_status session_open_dataset(const settings *s, const dt_model_config *model, dt_split split, dt_dataset **out)
{
    const dt_dataset_options opt = { .name = s->dataset,
                                     .dir = s->data_dir,
                                     .split = split,
                                     .limit = split == DT_SPLIT_TRAIN ? s->train_size : s->test_size,
                                     .seed = s->seed,
                                     .height = model->height,
                                     .width = model->width,
                                     .channels = model->channels };

    DT_TRY(dt_dataset_open(&opt, out));
    return DT_OK;
}

dt_status session_open_checkpoint(const settings *s, session *o, dt_train_config *train)
{
    dt_model_config cfg;

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(dt_checkpoint_config(s->checkpoint, &cfg, train));
    DT_TRY(session_open_context(s, o));
    DT_TRY(dt_model_create(o->ctx, &cfg, &o->model));
    DT_TRY(dt_checkpoint_load(o->model, s->checkpoint));
    return DT_OK;
}

dt_status need_option(const char *name, const char *value)
{
    DT_CHECK(value && value[0], DT_ERR_ARGUMENT, "--%s is needed", name);
    return DT_OK;
}
