/*
 * session.c - opens what a subcommand works on: device, datasets, the model of a checkpoint, its integer program.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void session_close(session *o)
{
    dt_trainer_destroy(o->trainer);
    dt_program_destroy(o->program);
    dt_model_destroy(o->model);
    dt_dataset_close(o->train_set);
    dt_dataset_close(o->val_set);
    dt_dataset_close(o->test_set);
    dt_context_destroy(o->ctx);
    *o = (session){ 0 };
}

dt_status session_run(const settings *s, dt_status (*use)(const settings *s, session *o))
{
    session o = { 0 };

    const dt_status status = use(s, &o);
    session_close(&o);
    return status;
}

dt_status session_use_model(const settings *s, const session *o, dt_status (*use)(const settings *s, dt_model *m))
{
    dt_model *m;

    if (!o->program) return use(s, o->model);
    DT_TRY(dt_program_model(o->ctx, o->program, NULL, &m));
    const dt_status status = use(s, m);
    dt_model_destroy(m);
    return status;
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

dt_status session_open_dataset(const settings *s, const dt_model_info *model, dt_split split, dt_dataset **out)
{
    const int64_t limits[] = {
        [DT_SPLIT_TRAIN] = s->train_size, [DT_SPLIT_TEST] = s->test_size, [DT_SPLIT_VALIDATION] = 0
    };
    const dt_dataset_options opt = { .name = s->dataset,
                                     .dir = s->data_dir,
                                     .split = split,
                                     .limit = limits[split],
                                     .held_out = s->val_size,
                                     .seed = s->seed,
                                     .height = model->height,
                                     .width = model->width,
                                     .resize = model->is_resized,
                                     .channels = model->channels };

    DT_TRY(dt_dataset_open(&opt, out));
    return DT_OK;
}

const char *session_dataset(const settings *s, const dt_model *m)
{
    return s->dataset ? s->dataset : dt_model_get_origin(m)->name;
}

void session_note_dataset(const settings *s, const dt_data_origin *trained_on)
{
    if (!s->dataset || !trained_on->name[0] || strcmp(s->dataset, trained_on->name) == 0) return;
    fprintf(stderr, "%s: note: trained on %s; %s's images are normalised as %s's were\n", s->argv[0], trained_on->name,
            s->dataset, trained_on->name);
}

dt_status session_open_images(const settings *s, const dt_model *m, dt_split split, dt_dataset **out)
{
    settings named = *s;
    dt_model_info is;

    named.dataset = session_dataset(s, m);
    DT_CHECK(named.dataset[0], DT_ERR_ARGUMENT,
             "%s: does not say what the network was trained on; name the dataset with --dataset", s->checkpoint);
    dt_model_look(m, &is);
    DT_TRY(session_open_dataset(&named, &is, split, out));
    if (split == DT_SPLIT_TEST) session_note_dataset(s, dt_model_get_origin(m));
    return DT_OK;
}

dt_status session_create_model(const settings *s, const dt_model_config *cfg, session *o)
{
    dt_model_config with_bits = *cfg;
    layer_bits bits = { 0 };

    DT_TRY(layer_bits_read(s, &bits));
    with_bits.layer_bits = bits.layer;
    with_bits.n_layer_bits = bits.n;
    const dt_status status = dt_model_create(o->ctx, &with_bits, &o->model);
    layer_bits_free(&bits);
    return status;
}

dt_status session_open_checkpoint(const settings *s, session *o)
{
    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(session_open_context(s, o));
    DT_TRY(dt_checkpoint_open(o->ctx, s->checkpoint, &o->model));
    return DT_OK;
}

static dt_status use_multipliers(const settings *s, session *o)
{
    dt_requant_report r;

    if (s->multiplier_bits == 0) return DT_OK;
    DT_TRY(dt_program_use_multipliers(o->program, s->multiplier_bits, &r));
    if (s->json) return DT_OK;
    fprintf(report_stream(s->out), "multiplier %d bits: %s of %s channels differ, for %s of %s psums, by %d at most\n",
            s->multiplier_bits, text_count(r.n_channels_differ).s, text_count(r.n_channels).s,
            text_count(r.n_psums_differ).s, text_count(r.n_psums).s, r.largest_difference);
    return DT_OK;
}

dt_status session_need_program(const settings *s, const session *o)
{
    char why[VALUE_BYTES * 8];
    const dt_status status = dt_program_possible(o->model);

    if (status == DT_OK) return DT_OK;
    snprintf(why, sizeof why, "%s", dt_last_error());
    return dt_raise(status, __FILE__, __LINE__, "%s: %s", s->checkpoint, why);
}

static dt_status use_cast(const settings *s, session *o)
{
    return s->io_cast == DT_CAST_ROUND ? DT_OK : dt_program_use_cast(o->program, (dt_image_cast)s->io_cast);
}

dt_status session_holds_program(const settings *s, int *out)
{
    char format[VALUE_BYTES];

    DT_TRY(need_option("checkpoint", s->checkpoint));
    DT_TRY(dt_file_format(s->checkpoint, format, sizeof format));
    const char *end = strstr(format, "-integer");
    *out = strcmp(format, "detent-program") == 0 || (end && strcmp(end, "-integer") == 0);
    return DT_OK;
}

dt_status session_wants_program(const settings *s, int *out)
{
    int is_program = 0;

    DT_TRY(session_holds_program(s, &is_program));
    *out = is_program || s->engine != ENGINE_GRID || s->profile >= 0 || s->io_cast != DT_CAST_ROUND;
    return DT_OK;
}

dt_status session_open_program(const settings *s, session *o)
{
    dt_model_info is;
    int is_program;

    DT_TRY(session_holds_program(s, &is_program));
    if (is_program) {
        DT_TRY(session_open_context(s, o));
        DT_TRY(dt_program_load(s->checkpoint, &o->program));
        if (s->profile >= 0) DT_TRY(dt_program_use_profile(o->program, (dt_profile)s->profile));
        DT_TRY(use_cast(s, o));
        return use_multipliers(s, o);
    }
    if (!o->model) DT_TRY(session_open_checkpoint(s, o));
    DT_TRY(session_need_program(s, o));
    const int is_affine = dt_quantized_count(o->model) > 0; /* its program reads reals, which need no normalisation */
    dt_model_look(o->model, &is);
    const int known = dt_model_get_origin(o->model)->name[0] != '\0' || is.unit_pixels;
    if (!known && !is_affine) DT_TRY(session_open_images(s, o->model, DT_SPLIT_TEST, &o->test_set));
    if (s->profile >= 0)
        DT_TRY(dt_program_lower_under(o->model, o->test_set, (dt_profile)s->profile, &o->program));
    else
        DT_TRY(dt_program_lower(o->model, o->test_set, &o->program));
    DT_TRY(use_cast(s, o));
    return use_multipliers(s, o);
}

const char *session_engine_word(const settings *s, const session *o)
{
    return engine_words[o->program && s->engine == ENGINE_GRID ? ENGINE_PROGRAM : s->engine];
}

const char *session_profile(const session *o)
{
    const int profile = o->program ? dt_program_profile(o->program) : -1;

    return profile < 0 ? NULL : dt_profile_names[profile];
}

short_text session_engine(const settings *s, const session *o)
{
    const char *profile = session_profile(o);
    const dt_image_cast cast = o->program ? dt_program_cast(o->program) : DT_CAST_ROUND;
    short_text out;

    snprintf(out.s, sizeof out.s, "%s%s%s%s%s", session_engine_word(s, o), profile ? ", " : "", profile ? profile : "",
             cast != DT_CAST_ROUND ? ", " : "", cast != DT_CAST_ROUND ? dt_image_cast_names[cast] : "");
    return out;
}

dt_status session_find_layer(const session *o, const char *name, int all)
{
    const int n = dt_model_n_layers(o->model);
    char names[VALUE_BYTES * 8] = "";
    dt_layer_info info;

    for (int i = 0; i < n; i++) {
        dt_model_layer(o->model, i, &info);
        if (strcmp(info.name, name) == 0) return DT_OK;
        const size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, " %s", info.name);
    }
    DT_CHECK(n > 0, DT_ERR_UNSUPPORTED, "%s has no layer of integer codes; train it with --wbits and --abits",
             text_network(o->model).s);
    return dt_raise(DT_ERR_ARGUMENT, __FILE__, __LINE__, "--layer %s: no quantized layer; there are%s%s", name, names,
                    all ? ", or all" : "");
}

dt_status session_range(const settings *s, int64_t n_images, image_range *out)
{
    int64_t a = 0, b = 0;
    char rest;
    int ok = sscanf(s->index, "%" SCNd64 ":%" SCNd64 "%c", &a, &b, &rest) == 2;

    if (!ok && sscanf(s->index, "%" SCNd64 "%c", &a, &rest) == 1) {
        ok = 1;
        b = a + 1;
    }
    DT_CHECK(ok && a >= 0 && a < b && b <= n_images, DT_ERR_ARGUMENT,
             "--index %s: expected A:B with 0 <= A < B <= %" PRId64 ", the images of this test set, or A", s->index,
             n_images);
    *out = (image_range){ a, b - a };
    return DT_OK;
}

FILE *report_stream(const char *out)
{
    struct stat a, b;
    const int same =
        out && stat(out, &a) == 0 && fstat(STDOUT_FILENO, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;

    return same ? stderr : stdout;
}

void session_split_inputs(const char *inputs, char path[PATH_BYTES], const char **name)
{
    const char *colon = strrchr(inputs, ':');
    const int named = colon && !strchr(colon, '/');

    *name = named ? colon + 1 : NULL;
    snprintf(path, PATH_BYTES, "%.*s", named ? (int)(colon - inputs) : PATH_BYTES - 1, inputs);
}

dt_status need_option(const char *name, const char *value)
{
    DT_CHECK(value && value[0], DT_ERR_ARGUMENT, "--%s is needed", name);
    return DT_OK;
}
