/*
 * train_open.c - opens a run of `detent train`, a new one or one that was stopped: data, model, trainer, run directory.
 */
#include "train.h"

#include <stdio.h>
#include <stdlib.h>

/* Of the run's folder: 3 s, in which a process that was told to stop has saved, as that of a search that was killed. */
enum { LOCK_TRIES = 30 };

/* The file whose values training begins with, or NULL. */
static const char *init_of(const settings *s)
{
    return s->init ? s->init : dt_network_is_checkpoint(s->model.name) ? s->model.name : NULL;
}

static void print_skipped(void *user, const char *name, const char *why)
{
    const run *r = user;

    if (r->rank > 0 || !r->s->init) return; /* a checkpoint as --model lacks the quantizers that it is given */
    if (r->s->quiet)
        fprintf(stderr, "detent train: warning: --init %s: skipped %s: %s\n", r->s->init, name, why);
    else
        printf("           skipped %s: %s\n", name, why);
}

static dt_status load_init(run *r)
{
    const char *init = init_of(r->s);
    int n_loaded;

    if (!init) return DT_OK;
    DT_CHECK(!r->s->whiten, DT_ERR_ARGUMENT,
             "--whiten makes the first layer's filters, and %s has them already; leave one of the two out", init);
    if (!r->s->quiet) printf("init       %s\n", init);
    DT_TRY(dt_checkpoint_load_partial(r->o.model, init, print_skipped, r, &n_loaded));
    DT_CHECK(n_loaded > 0, DT_ERR_FORMAT, "--init %s: no parameter of it fits this model", init);
    if (!r->s->quiet) printf("           copied %d of %d parameters\n", n_loaded, dt_model_n_params(r->o.model));
    return DT_OK;
}

static dt_status open_context(run *r)
{
    DT_TRY(session_open_context(r->s, &r->o));
    if (r->dist) DT_TRY(dt_context_join(r->o.ctx, r->dist));
    return DT_OK;
}

/* A run that goes on has the network of its checkpoint, where that came from files: they may be gone since. */
static dt_status create_model(run *r, const dt_model_config *cfg)
{
    char path[PATH_BYTES];

    if (r->goes_on && (dt_network_is_file(cfg->name) || bits_are_in_file(r->s))) {
        DT_TRY(run_dir_path(r->s->out, TRAIN_LAST, path));
        DT_TRY(dt_checkpoint_open(r->o.ctx, path, &r->o.model));
    } else {
        DT_TRY(session_create_model(r->s, cfg, &r->o));
    }
    dt_model_look(r->o.model, &r->is);
    return DT_OK;
}

static dt_status open_datasets(run *r, const dt_model_info *model)
{
    dt_dataset_view view;

    DT_TRY(session_open_dataset(r->s, model, DT_SPLIT_TRAIN, &r->o.train_set));
    if (r->s->val_size > 0) DT_TRY(session_open_dataset(r->s, model, DT_SPLIT_VALIDATION, &r->o.val_set));
    DT_TRY(session_open_dataset(r->s, model, DT_SPLIT_TEST, &r->o.test_set));
    dt_dataset_look(r->o.train_set, &view);
    r->n_train = view.n;
    return DT_OK;
}

/* A file says how many classes its network has. */
static dt_status open_from_file(run *r)
{
    dt_model_config cfg = r->s->model;
    dt_dataset_view view;

    cfg.n_classes = r->s->classes;
    DT_TRY(open_context(r));
    DT_TRY(create_model(r, &cfg));
    DT_TRY(open_datasets(r, &r->is));
    dt_dataset_look(r->o.train_set, &view);
    DT_CHECK(view.n_classes <= r->is.n_classes, DT_ERR_ARGUMENT,
             "--model %s: it has %d classes, and %s has %d; a network for it needs as many or more", cfg.name,
             r->is.n_classes, r->s->dataset, view.n_classes);
    return DT_OK;
}

static dt_status open_by_name(run *r)
{
    dt_model_config cfg = r->s->model;
    const dt_model_info wanted = {
        .height = cfg.height, .width = cfg.width, .channels = cfg.channels, .is_resized = dt_model_resizes(cfg.name)
    };
    dt_dataset_view view;

    DT_TRY(open_datasets(r, &wanted));
    dt_dataset_look(r->o.train_set, &view);
    cfg.height = view.height;
    cfg.width = view.width;
    cfg.channels = view.channels;
    cfg.n_classes = r->s->classes > 0 ? r->s->classes : view.n_classes;
    DT_CHECK(view.n_classes <= cfg.n_classes, DT_ERR_ARGUMENT,
             "--classes %d: %s has %d classes, and a network for it needs as many or more", cfg.n_classes,
             r->s->dataset, view.n_classes);
    DT_TRY(open_context(r));
    return create_model(r, &cfg);
}

/* Gives the trainer a teacher, or its scores of the training images, [n][classes], for which there is room. */
static dt_status teach_by(run *r, dt_model *teacher, float *scores, dt_metrics *found)
{
    const dt_outputs outputs = { .scores = scores };
    dt_model_info is;

    dt_model_look(teacher, &is);
    DT_CHECK(is.n_classes == r->is.n_classes, DT_ERR_ARGUMENT,
             "--teacher %s: it has %d classes, and the network that is trained has %d", r->s->teacher, is.n_classes,
             r->is.n_classes);
    DT_TRY(dt_evaluate(teacher, r->o.train_set, r->s->train.batch, 0.0f, NULL, &outputs, found));
    return r->s->train.teacher_sees == DT_TEACHER_AUGMENTED ? dt_trainer_teach_by(r->o.trainer, teacher)
                                                            : dt_trainer_teach(r->o.trainer, scores);
}

/* The network that is trained stays as it was. */
static dt_status teach(run *r)
{
    dt_dataset_view v;
    dt_model *teacher;
    dt_metrics found;

    if (!r->s->teacher) return DT_OK;
    dt_dataset_look(r->o.train_set, &v);
    float *scores = malloc((size_t)v.n * (size_t)r->is.n_classes * sizeof *scores);
    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for a teacher's scores of %lld images", (long long)v.n);
    dt_status status = dt_checkpoint_open(r->o.ctx, r->s->teacher, &teacher);
    if (status == DT_OK) {
        status = teach_by(r, teacher, scores, &found);
        dt_model_destroy(teacher);
    }
    free(scores);
    DT_TRY(status);
    if (r->s->quiet) return DT_OK;
    printf("teacher    %s: %.2f %% of the training images; %g of the loss, %s\n", r->s->teacher, 100.0 * found.accuracy,
           (double)r->s->train.teacher_share,
           r->s->train.teacher_sees == DT_TEACHER_AUGMENTED ? "by its scores of each batch"
                                                            : "by its scores of the images as they are");
    return DT_OK;
}

/* Parameters and position: of last.safetensors if the run has got so far, else of the run's begin. */
static dt_status open_trainer(run *r)
{
    char path[PATH_BYTES];

    if (!r->goes_on) DT_TRY(load_init(r));
    if (!r->goes_on) DT_TRY(dt_model_centre(r->o.model, r->o.train_set));
    DT_TRY(dt_trainer_create(r->o.model, r->o.train_set, &r->s->train, &r->o.trainer));
    DT_TRY(teach(r));
    if (!r->goes_on && r->s->whiten) DT_TRY(dt_trainer_whiten(r->o.trainer));
    if (!r->goes_on) return dt_trainer_calibrate(r->o.trainer);

    DT_TRY(run_dir_path(r->s->out, TRAIN_LAST, path));
    DT_TRY(dt_checkpoint_resume(r->o.trainer, path));
    r->saved_step = dt_trainer_steps_done(r->o.trainer);
    return DT_OK;
}

static void add_strings(cJSON *array, int n, char *const *strings)
{
    for (int i = 0; i < n; i++) cJSON_AddItemToArray(array, cJSON_CreateString(strings[i]));
}

/* All that is needed to repeat the run: the options make both configurations, the rest is for readers. */
static dt_status write_config(const run *r)
{
    dt_dataset_view test;
    cJSON *options;

    dt_dataset_look(r->o.test_set, &test);
    DT_TRY(settings_to_json(r->s, &options));
    cJSON *config = cJSON_CreateObject();
    cJSON_AddStringToObject(config, "version", DT_VERSION);
    add_strings(cJSON_AddArrayToObject(config, "command"), r->s->argc, r->s->argv);
    cJSON_AddItemToObject(config, "options", options);
    cJSON *data = cJSON_AddObjectToObject(config, "data");
    cJSON_AddNumberToObject(data, "train_images", (double)r->n_train);
    if (r->s->val_size > 0) cJSON_AddNumberToObject(data, "val_images", (double)r->s->val_size);
    cJSON_AddNumberToObject(data, "test_images", (double)test.n);
    cJSON_AddNumberToObject(data, "height", r->is.height);
    cJSON_AddNumberToObject(data, "width", r->is.width);
    cJSON_AddNumberToObject(data, "channels", r->is.channels);
    cJSON_AddNumberToObject(data, "classes", r->is.n_classes);
    cJSON_AddNumberToObject(config, "parameters", (double)dt_model_count(r->o.model));
    cJSON_AddStringToObject(config, "device", dt_context_backend(r->o.ctx));
    const dt_status status = run_dir_write_config(r->s->out, config);
    cJSON_Delete(config);
    return status;
}

/* A run that goes on beyond its planned end: the next --resume finds that in config.json. */
static int is_extended(const settings *s)
{
    const cJSON *options = cJSON_GetObjectItemCaseSensitive(s->saved, "options");
    const cJSON *extend = cJSON_GetObjectItemCaseSensitive(options, "extend");

    return s->saved && s->train.extend != (cJSON_IsNumber(extend) ? extend->valueint : 0);
}

/* config.json comes last: a directory that has it has a run that can be resumed. */
static dt_status open_directory(run *r)
{
    const int is_new = r->s->saved == NULL;
    const metrics_kept kept = { r->state.epochs_ended, dt_trainer_steps_done(r->o.trainer), train_split(r) };

    if (is_new) DT_TRY(dt_folder_make(r->s->out));
    if (is_new) DT_TRY(run_dir_lock(r->s->out, LOCK_TRIES, &r->lock));
    DT_TRY(run_dir_sweep(r->s->out, is_new && r->s->force));
    DT_TRY(metrics_cut(r->s->out, &kept));
    if (is_new || is_extended(r->s)) DT_TRY(write_config(r));
    return DT_OK;
}

dt_status train_open(run *r)
{
    DT_TRY(dt_network_is_file(r->s->model.name) ? open_from_file(r) : open_by_name(r));
    DT_TRY(measure_peak(r));
    report_begin(r);
    DT_TRY(open_trainer(r));
    DT_TRY(train_share_start(r));
    if (r->rank == 0) DT_TRY(open_directory(r));
    DT_TRY(board_open(r));
    if (train_end(r) == END_NOT_YET) DT_TRY(log_open_evaluation(r, r->o.model, train_decides(r), &r->epochs));
    report_position(r);
    r->run_begin = clock_seconds();
    r->first_step = r->watch.step = dt_trainer_steps_done(r->o.trainer);
    progress_begin(&r->bar, r->s->quiet);
    return DT_OK;
}

dt_status train_look_into_directory(run *r)
{
    char path[PATH_BYTES];

    DT_TRY(need_option("out", r->s->out));
    DT_CHECK(!r->s->resume || !r->s->force, DT_ERR_ARGUMENT,
             "--resume goes on with a run and --force removes it: one of them");
    if (!r->s->saved) return run_dir_refuse(r->s->out, r->s->force);
    DT_TRY(run_dir_lock(r->s->out, LOCK_TRIES, &r->lock));
    r->goes_on = run_dir_has(r->s->out, TRAIN_LAST);
    if (!r->goes_on) return DT_OK;
    DT_TRY(run_dir_path(r->s->out, TRAIN_LAST, path));
    DT_TRY(train_read_state(path, &r->state));
    if (train_end(r) == END_NOT_YET) r->state.test_accuracy = -1.0; /* it was complete, and is extended */
    return DT_OK;
}
