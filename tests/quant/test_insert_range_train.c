/*
 * test_insert_range_train.c - networks with affine quantizers are calibrated, trained and evaluated, with learned and
 *                             with average ranges.
 */
#include "../support/range_networks.h"

#include <math.h>

typedef struct {
    dt_context *ctx;
    dt_dataset *data;
    dt_model *model;
    dt_trainer *trainer;
} range_run;

static int run_open(range_run *r, const char *text, const char *backend, dt_range_update update)
{
    const dt_dataset_options data = {
        .name = "synthetic", .split = DT_SPLIT_TRAIN, .limit = 64, .seed = 1, .height = 16, .width = 16, .resize = 1
    };
    dt_range_choice c = w8a8;
    dt_train_config train;
    dt_options o;
    *r = (range_run){ 0 };

    dt_options_default(&o);
    o.backend = backend;
    o.precision = DT_PRECISION_F32;
    if (dt_context_create(&o, &r->ctx) != DT_OK) return 0;
    dt_train_config_default(NULL, &train);
    train.batch = 32;
    train.lr = 0.1f;
    train.crop_pad = 0;
    train.flip_share = 0.0f;
    c.update = update;
    MUST(dt_dataset_open(&data, &r->data));
    MUST(dt_model_open(r->ctx, quantized(text, &c), &r->model));
    MUST(dt_trainer_create(r->model, r->data, &train, &r->trainer));
    return 1;
}

static void run_close(range_run *r)
{
    dt_trainer_destroy(r->trainer);
    dt_model_destroy(r->model);
    dt_dataset_close(r->data);
    dt_context_destroy(r->ctx);
}

static void read_range(const range_run *r, const char *name, float ends[2])
{
    const int i = dt_model_find(r->model, name);
    cr_assert(i >= 0, "no parameter %s", name);
    MUST(dt_model_read(r->model, i, ends));
}

/* The upper ends of all ranges; returns how many there are. */
static int read_ends(const range_run *r, float most[16])
{
    int n = 0;

    for (int i = 0; i < dt_model_n_params(r->model); i++) {
        const char *suffix = strstr(r->model->param[i]->name, ".range");
        float ends[2];
        if (!suffix) continue;
        MUST(dt_model_read(r->model, i, ends));
        most[n++] = ends[1];
    }
    return n;
}

/* Learned ends move where values are above them, and averages all move but that of probabilities. */
static void expect_moved(const float *before, const float *after, int n, dt_range_update update)
{
    int moved = 0;

    for (int i = 0; i < n; i++) moved += before[i] != after[i];
    cr_assert(update == DT_RANGE_AVERAGE ? moved == n - 1 : moved > 0, "%d of %d ranges moved", moved, n);
}

static double loss_of(range_run *r, int epochs)
{
    dt_metrics m;

    for (int i = 0; i < epochs; i++) MUST(dt_trainer_run(r->trainer, 2));
    MUST(dt_trainer_metrics(r->trainer, &m));
    return m.loss;
}

/* Of ranges that were given, or loaded, calibration changes none. */
Test(insert_range_train, calibration_leaves_ranges_that_are_known)
{
    const float known[2] = { -0.5f, 3.0f };
    float ends[2];
    range_run r;

    cr_assert(run_open(&r, residual, "cpu", DT_RANGE_LEARNED));
    MUST(dt_model_write(r.model, dt_model_find(r.model, "join.act.range"), known));
    MUST(dt_trainer_calibrate(r.trainer));
    read_range(&r, "join.act.range", ends);
    cr_assert(ends[0] == known[0] && ends[1] == known[1], "%g..%g", (double)ends[0], (double)ends[1]);
    read_range(&r, "gate.range", ends);
    cr_assert(ends[1] == 255.0f / 256.0f, "probabilities have %g..%g", (double)ends[0], (double)ends[1]);
    read_range(&r, "b.bn.range", ends);
    cr_assert(ends[0] < 0.0f && ends[0] != -6.0f && ends[1] > 0.0f);
    read_range(&r, "classifier.range", ends); /* the scores of an untrained network are small, and will grow */
    cr_assert(ends[0] == -6.0f && ends[1] == 6.0f, "scores have %g..%g", (double)ends[0], (double)ends[1]);
    run_close(&r);
}

/* a reaches further down and b further up; both have one range. */
Test(insert_range_train, a_shared_average_begins_with_all_values_and_moves_by_them)
{
    static const char text[] = "{ \"format\": \"detent-network\", \"image\": [16, 16, 3], \"classes\": 10, \"nodes\": ["
                               "[\"a\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"a.clip\", \"clip\", \"a\", { \"low\": -0.25, \"high\": 0.125 }],"
                               "[\"b\", \"conv\", \"image\", { \"filters\": 4, \"window\": 3, \"pad\": 1 }],"
                               "[\"b.clip\", \"clip\", \"b\", { \"low\": 0, \"high\": 0.5 }],"
                               "[\"both\", \"concat\", [\"a.clip\", \"b.clip\"]],"
                               "[\"flat\", \"flatten\", \"both\"],"
                               "[\"fc\", \"linear\", \"flat\", { \"features\": 10 }] ] }";
    static const char *const backends[] = { "cpu", "cuda" };
    const float wide[2] = { -1.0f, 2.0f };

    for (int k = 0; k < 2; k++) {
        float ends[2];
        range_run r;
        if (!run_open(&r, text, backends[k], DT_RANGE_AVERAGE)) continue;
        MUST(dt_trainer_calibrate(r.trainer));
        read_range(&r, "both.range", ends);
        cr_assert(ends[0] == -0.25f && ends[1] == 0.5f, "%s: %g..%g", backends[k], (double)ends[0], (double)ends[1]);
        MUST(dt_model_write(r.model, dt_model_find(r.model, "both.range"), wide));
        MUST(dt_trainer_run(r.trainer, 1));
        read_range(&r, "both.range", ends); /* once, by a tenth of the way */
        cr_assert(fabsf(ends[0] + 0.925f) < 1e-6f && fabsf(ends[1] - 1.85f) < 1e-6f, "%s: %g..%g", backends[k],
                  (double)ends[0], (double)ends[1]);
        run_close(&r);
    }
}

/* 2 steps an epoch. The shim's kernels are slow, and have few. */
static void check_training(const char *backend, dt_range_update update, int epochs, double share)
{
    float calibrated[2], before[16], after[16], again[16];
    dt_metrics m;
    range_run r;

    if (!run_open(&r, residual, backend, update)) return;
    MUST(dt_trainer_calibrate(r.trainer));
    read_range(&r, "stem.act.range", calibrated);
    cr_assert(calibrated[0] == 0.0f && calibrated[1] > 0.5f && calibrated[1] <= 6.0f, "a ReLU6 has %g..%g",
              (double)calibrated[0], (double)calibrated[1]);
    const int n = read_ends(&r, before);
    const double begin = loss_of(&r, 1), end = loss_of(&r, epochs - 1);
    cr_assert(end < share * begin, "%s, update %d: the loss was %g, and is %g", backend, (int)update, begin, end);
    read_ends(&r, after);
    expect_moved(before, after, n, update);
    MUST(dt_trainer_check_values(r.trainer));
    MUST(dt_evaluate(r.model, r.data, 32, 0.0f, NULL, NULL, &m));
    cr_assert(isfinite(m.loss) && m.images == 64, "loss %g of %lld images", m.loss, (long long)m.images);
    read_ends(&r, again);
    cr_assert(memcmp(again, after, (size_t)n * sizeof *after) == 0, "evaluation has moved a range");
    run_close(&r);
}

Test(insert_range_train, a_network_trains_with_learned_ranges)
{
    check_training("cpu", DT_RANGE_LEARNED, 15, 0.85);
    check_training("cuda", DT_RANGE_LEARNED, 3, 1.0);
}

Test(insert_range_train, a_network_trains_with_average_ranges)
{
    check_training("cpu", DT_RANGE_AVERAGE, 15, 0.85);
    check_training("cuda", DT_RANGE_AVERAGE, 3, 1.0);
}
