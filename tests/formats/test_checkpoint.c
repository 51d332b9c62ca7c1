/*
 * test_checkpoint.c - what a checkpoint holds, and models that take all of it or the parts that fit.
 *
 * Going on with a run: test_checkpoint_resume.c.
 */
#include "../support/checkpoint_run.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

#include "../../formats/safetensors.h"

TestSuite(checkpoint, .init = temp_make, .fini = temp_remove);

Test(checkpoint, filters_are_laid_out_as_in_pytorch)
{
    const setup s = default_setup();
    run r = open_run(&s);
    dt_safetensors *f;
    float file[8 * 3 * 9], model[8 * 3 * 9], moment[8 * 3 * 9], ours[8 * 3 * 9];

    train_steps(&r, 1);
    save(&r, "layout.safetensors");
    cr_assert(eq(int, dt_safetensors_open(temp_path("layout.safetensors"), &f), DT_OK), "%s", dt_last_error());
    const dt_safetensors_tensor *t = dt_safetensors_find(f, "features.0.weight");
    const dt_safetensors_tensor *m1 = dt_safetensors_find(f, "optimizer.momentum.features.0.weight");
    cr_assert(eq(int, t->ndim, 4));
    cr_assert(eq(int, memcmp(t->dim, (int64_t[]){ 8, 3, 3, 3 }, sizeof(int64_t[4])), 0));
    cr_assert(eq(int, dt_safetensors_read(f, t, file), DT_OK));
    cr_assert(eq(int, dt_safetensors_read(f, m1, moment), DT_OK));
    const int i = dt_model_find(r.model, "features.0.weight");
    cr_assert(eq(int, dt_model_read(r.model, i, model), DT_OK));
    cr_assert(eq(int, dt_device_read(r.ctx, ours, r.trainer->m1 + r.model->param[i]->first, sizeof ours), DT_OK));
    for (int k = 0; k < 8; k++) {
        for (int at = 0; at < 27; at++) {
            const int c = at / 9, row = at / 3 % 3, column = at % 3;
            const int from = ((k * 3 + row) * 3 + column) * 3 + c;
            cr_assert(eq(flt, file[k * 27 + at], model[from]), "filter %d, place %d", k, at);
            cr_assert(eq(flt, moment[k * 27 + at], ours[from]), "moment of filter %d, place %d", k, at);
        }
    }
    cr_assert(eq(ptr, (void *)dt_safetensors_find(f, "optimizer.momentum.features.1.running_mean"), NULL));
    dt_safetensors_close(f);
    close_run(&r);
}

enum { FILTERS = 300, CHANNELS = 128, EACH = 9 * CHANNELS };

/* A model of one convolution, whose weights are `first` and the numbers behind it. */
static dt_model *large_conv(dt_context *ctx, float first)
{
    const dt_shape image = { 4, { 1, 3, 3, CHANNELS } }, w = { 4, { FILTERS, 3, 3, CHANNELS } };
    const dt_param_spec spec = { .shape = w, .group = DT_GROUP_WEIGHT, .values = DT_VALUES_FINITE, .floor = -INFINITY };
    const dt_conv_params params = { .stride = { 1, 1 }, .dilation = { 1, 1 }, .groups = 1 };
    float *data = malloc(sizeof *data * FILTERS * EACH);
    dt_model *m = NULL;
    dt_graph *g;
    int in[2], y;

    for (int i = 0; i < FILTERS * EACH; i++) data[i] = first + (float)i;
    cr_assert(eq(int, dt_graph_create("large", &g), DT_OK));
    cr_assert(eq(int, dt_graph_give(g, "image", DT_F32, &image, &g->image), DT_OK));
    cr_assert(eq(int, dt_graph_param(g, "conv.weight", &spec, &in[1]), DT_OK));
    dt_graph_set_data(g, in[1], DT_F32, data);
    in[0] = g->image;
    cr_assert(eq(int, dt_graph_add(g, DT_OP_CONV2D, "conv", &params, in, 2, &y), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_graph_add(g, DT_OP_FLATTEN, "scores", NULL, &y, 1, &g->scores), DT_OK));
    cr_assert(eq(int, dt_model_open(ctx, g, &m), DT_OK), "%s", dt_last_error());
    return m;
}

/* 345,600 weights, which are turned in two parts. */
Test(checkpoint, filters_of_large_layers_are_turned_in_parts)
{
    float *file = malloc(sizeof *file * FILTERS * EACH), *model = malloc(sizeof *model * FILTERS * EACH);
    dt_safetensors *f;
    dt_options opt;
    dt_context *ctx;

    dt_options_default(&opt);
    opt.backend = "cpu";
    cr_assert(eq(int, dt_context_create(&opt, &ctx), DT_OK));
    dt_model *a = large_conv(ctx, 7.0f), *b = large_conv(ctx, -1.0f);
    cr_assert(eq(int, dt_model_save(a, temp_path("large.safetensors"), NULL), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_safetensors_open(temp_path("large.safetensors"), &f), DT_OK));
    cr_assert(eq(int, dt_safetensors_read(f, dt_safetensors_find(f, "conv.weight"), file), DT_OK));
    cr_assert(eq(int, dt_checkpoint_load(b, temp_path("large.safetensors")), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, dt_model_read(b, 0, model), DT_OK));
    for (int i = 0; i < FILTERS * EACH; i++) {
        const int k = i / EACH, tap = i % EACH / CHANNELS, c = i % CHANNELS;
        cr_assert(file[k * EACH + c * 9 + tap] == 7.0f + (float)i, "filter %d, tap %d, channel %d", k, tap, c);
        cr_assert(model[i] == 7.0f + (float)i, "weight %d", i);
    }
    dt_safetensors_close(f);
    dt_model_destroy(a);
    dt_model_destroy(b);
    dt_context_destroy(ctx);
    free(file);
    free(model);
}

Test(checkpoint, training_and_extra_come_back)
{
    setup s = default_setup();
    dt_train_config train;
    char *extra;

    s.train.lr = 0.0123456789f;
    run r = open_run(&s);
    save(&r, "c.safetensors");
    cr_assert(eq(int, dt_checkpoint_train_config(temp_path("c.safetensors"), &train), DT_OK), "%s", dt_last_error());
    cr_assert(eq(int, memcmp(&train, &s.train, sizeof train), 0));
    cr_assert(eq(int, dt_checkpoint_extra(temp_path("c.safetensors"), &extra), DT_OK));
    cr_assert(eq(str, extra, "{\"a\": 1}"));
    free(extra);
    cr_assert(eq(int, dt_checkpoint_save(r.trainer, temp_path("c.safetensors"), NULL), DT_OK));
    cr_assert(eq(int, dt_checkpoint_extra(temp_path("c.safetensors"), &extra), DT_OK));
    cr_assert(eq(ptr, extra, NULL));
    cr_assert(eq(int, dt_checkpoint_train_config(temp_path("none.safetensors"), &train), DT_ERR_IO));
    close_run(&r);
}

/* Parameters alone, into a model of another seed; its optimiser state is another matter. */
Test(checkpoint, load_takes_all_parameters_or_none)
{
    const setup s = default_setup();
    setup other = s;
    const edit renamed = { "renamed", "\"features.4.weight\"", "\"features.5.weight\"", DT_ERR_SHAPE, "" };
    run a = open_run(&s);

    train_steps(&a, 2);
    save(&a, "a.safetensors");
    write_edited("a.safetensors", "renamed.safetensors", &renamed);
    other.seed = 99;
    run b = open_run(&other);
    state before = state_of(&b);
    cr_assert(eq(int, dt_checkpoint_load(b.model, temp_path("renamed.safetensors")), DT_ERR_SHAPE));
    expect_message("renamed", "has no tensor 'features.4.weight', which the model needs");
    expect_state("renamed", &b, &before);
    cr_assert(eq(int, dt_checkpoint_load(b.model, temp_path("a.safetensors")), DT_OK), "%s", dt_last_error());
    state of_a = state_of(&a), of_b = state_of(&b);
    const size_t parameters = (size_t)(a.model->n_trained + a.model->n_state) * sizeof(float);
    cr_assert(eq(int, memcmp(of_a.values, of_b.values, parameters), 0));
    close_run(&b);

    other.model.wbits = other.model.abits = DT_BITS_FLOAT; /* has no clips */
    b = open_run(&other);
    cr_assert(eq(int, dt_checkpoint_load(b.model, temp_path("a.safetensors")), DT_ERR_SHAPE));
    expect_message("float", "has a tensor 'features.0.act_alpha', which the model does not");
    close_run(&b);
    close_run(&a);
    free(before.values);
    free(of_a.values);
    free(of_b.values);
}

typedef struct {
    int n;
    char name[64][64], why[64][160];
} skips;

static void remember(void *user, const char *name, const char *why)
{
    skips *s = user;

    cr_assert(lt(int, s->n, 64));
    snprintf(s->name[s->n], sizeof s->name[0], "%s", name);
    snprintf(s->why[s->n], sizeof s->why[0], "%s", why);
    s->n++;
}

/* The second of the notebook's runs starts from the first, whose chokepoint is half as wide. */
Test(checkpoint, partial_load_from_choke_8_to_16)
{
    static const char *const expected[][2] = {
        { "features.24.weight", "8x256x3x3 in the checkpoint, 16x256x3x3 in the model" },
        { "features.25.weight", "8 in the checkpoint, 16 in the model" },
        { "features.25.bias", "8 in the checkpoint, 16 in the model" },
        { "features.25.running_mean", "8 in the checkpoint, 16 in the model" },
        { "features.25.running_var", "8 in the checkpoint, 16 in the model" },
        { "features.27.weight", "8x8x3x3 in the checkpoint, 16x16x3x3 in the model" },
        { "features.30.weight", "512x8x3x3 in the checkpoint, 512x16x3x3 in the model" },
    };
    enum { N_EXPECTED = sizeof expected / sizeof expected[0] };
    setup s = { .seed = 7, .n_images = 2 };
    float from[64 * 27], to[64 * 27];
    skips skipped = { 0 };
    int n_loaded;

    cr_assert(eq(int, dt_train_recipe("notebook-w4a4", &s.model, &s.train), DT_OK));
    s.train.batch = 2;
    run a = open_run(&s);
    save(&a, "w4a4.safetensors");
    cr_assert(eq(int, dt_train_recipe("notebook-w4a2", &s.model, &s.train), DT_OK));
    s.train.batch = 2;
    s.seed = 8;
    run b = open_run(&s);
    cr_assert(eq(int, dt_checkpoint_load_partial(b.model, temp_path("w4a4.safetensors"), remember, &skipped, &n_loaded),
                 DT_OK),
              "%s", dt_last_error());
    for (int i = 0; i < skipped.n; i++) {
        cr_assert(lt(int, i, N_EXPECTED), "%s: %s", skipped.name[i], skipped.why[i]);
        cr_assert(eq(str, skipped.name[i], (char *)expected[i][0]));
        cr_assert(eq(str, skipped.why[i], (char *)expected[i][1]));
    }
    cr_assert(eq(int, skipped.n, N_EXPECTED));
    cr_assert(eq(int, n_loaded, dt_model_n_params(b.model) - N_EXPECTED));
    cr_assert(eq(int, dt_model_read(a.model, dt_model_find(a.model, "features.0.weight"), from), DT_OK));
    cr_assert(eq(int, dt_model_read(b.model, dt_model_find(b.model, "features.0.weight"), to), DT_OK));
    cr_assert(eq(int, memcmp(from, to, sizeof from), 0));
    close_run(&a);
    close_run(&b);
}

Test(checkpoint, partial_load_names_what_either_side_lacks)
{
    const edit renamed = { "renamed", "\"features.4.weight\"", "\"features.5.weight\"", DT_OK, "" };
    const setup s = default_setup();
    run r = open_run(&s);
    skips skipped = { 0 };
    int n_loaded;

    save(&r, "a.safetensors");
    write_edited("a.safetensors", "b.safetensors", &renamed);
    cr_assert(
        eq(int, dt_checkpoint_load_partial(r.model, temp_path("b.safetensors"), remember, &skipped, &n_loaded), DT_OK));
    cr_assert(eq(int, skipped.n, 2));
    cr_assert(eq(str, skipped.name[0], "features.5.weight"));
    cr_assert(eq(str, skipped.why[0], "not in the model"));
    cr_assert(eq(str, skipped.name[1], "features.4.weight"));
    cr_assert(eq(str, skipped.why[1], "not in the checkpoint"));
    cr_assert(eq(int, n_loaded, dt_model_n_params(r.model) - 1));
    cr_assert(eq(int, dt_checkpoint_load_partial(r.model, temp_path("a.safetensors"), NULL, NULL, &n_loaded), DT_OK));
    cr_assert(eq(int, n_loaded, dt_model_n_params(r.model)));
    close_run(&r);
}

Test(checkpoint, an_interrupted_write_keeps_the_old_file)
{
    const setup s = default_setup();
    run r = open_run(&s);
    size_t bytes, bytes_after;
    struct rlimit before;
    struct dirent *entry;

    save(&r, "last.safetensors");
    uint8_t *old = read_file("last.safetensors", &bytes);
    train_steps(&r, 1);

    signal(SIGXFSZ, SIG_IGN);
    cr_assert(eq(int, getrlimit(RLIMIT_FSIZE, &before), 0));
    const struct rlimit full = { bytes - 1000, before.rlim_max };
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &full), 0));
    const dt_status status = dt_checkpoint_save(r.trainer, temp_path("last.safetensors"), NULL);
    cr_assert(eq(int, setrlimit(RLIMIT_FSIZE, &before), 0));
    cr_assert(eq(int, (int)status, DT_ERR_IO));

    uint8_t *now = read_file("last.safetensors", &bytes_after);
    cr_assert(eq(sz, bytes_after, bytes));
    cr_assert(eq(int, memcmp(now, old, bytes), 0));
    DIR *folder = opendir(temp_folder);
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] != '.') cr_assert(eq(str, entry->d_name, "last.safetensors"));
    }
    closedir(folder);
    free(old);
    free(now);
    close_run(&r);
}
