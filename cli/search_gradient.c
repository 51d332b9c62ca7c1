/*
 * search_gradient.c - bit widths learned by the gradient, with a penalty on bit operations: one run of training.
 *
 * Each layer of the space trains with LSQ quantizers of its most bits, all of whose codes are in use at first. A
 * quantizer's step s then decides how many codes are in use, and so the bits that the layer needs:
 *
 *   weights       b = log2(max |w| / s + 1) + 1
 *   activations   b = log2(q + 1), q the code that 99.9 % of the codes of some images do not exceed; signed: one more
 *
 * The loss moves s by LSQ's own gradient, and between steps the penalty moves it by that of the bit operations,
 *
 *   BOPs = sum over layers of products * b_w * b_a,   d log2(BOPs) / d b_w = products * b_a / (BOPs ln 2)
 *
 * so that b falls where many products are and the loss does not object. The penalty is as strong as it must be for the
 * BOPs to fall by the same factor each time until the rounded bits have the share of the first BOPs that is wanted.
 * There it ends, or with the epochs. What has been learned are the bits alone: the trial of that
 * network begins with the values of the network of reals, as those that it is compared with do.
 *
 * Source: Uhlich et al., "Mixed Precision DNNs", ICLR 2020: step and range in place of the number of bits; Esser et
 * al., "Learned step size quantization", ICLR 2020.  Tests: tests/cli/test_cli_search.sh.
 */
#include "search_work.h"

#include "sweep.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PUSHES = 40 /* in a run */, SPARE_PUSHES = 5 /* for what the loss takes back at the end */ };
enum { LOOK_IMAGES = 64, CODES = 256 };

#define HELD_CODES 0.999 /* share of the codes */
#define BITS_LEAST 2.0
#define FALL_MOST  0.5 /* bits that a quantizer may lose at once */

/* A layer of the space. */
typedef struct {
    const dt_search_row *row, *source;     /* source: NULL where its bits are fixed or it reads reals */
    int weight, w_step, a_step;            /* parameters of the model; a_step -1: fixed */
    double w_bits, a_bits, w_most, a_most; /* bits in use, and the largest codes */
    int is_signed;                         /* 1: a look has seen codes below 0 */
    int64_t code[CODES];                   /* how often the last look saw each magnitude */
} learned_layer;

typedef struct {
    search_work *w;
    settings run; /* of training */
    session o;
    dt_layer_bits *bits; /* [n] */
    learned_layer *layer;
    int n;
} learning;

/* ---- what is trained ---- */

/* The options of the file, over those of `detent train` for this network. */
static dt_status make_settings(learning *l)
{
    const trial_maker *m = &l->w->maker;
    const cJSON *item;
    char text[PATH_BYTES];

    DT_TRY(settings_default(&l->run));
    l->run.dataset = m->dataset[0] ? m->dataset : "cifar10";
    l->run.data_dir = l->w->s->data_dir;
    l->run.val_size = l->w->s->tune_size;
    l->run.seed = l->w->s->seed;
    l->run.device = l->w->s->device;
    l->run.threads = l->w->s->threads;
    l->run.precision = l->w->s->precision;
    cJSON_ArrayForEach(item, l->w->p.options)
    {
        for (int i = 0; i < n_option_rows; i++) {
            const option_row *row = &option_rows[i];
            if (!(row->commands & FOR_TRAIN) || strcmp(row->name, item->string) != 0 || cJSON_IsFalse(item)) continue;
            sweep_value(item, text, sizeof text); /* a text is kept, and so is the file's */
            DT_TRY(option_set(row, cJSON_IsString(item) ? item->valuestring : text, &l->run));
        }
    }
    l->run.train.epochs = l->w->s->trial_epochs;
    return DT_OK;
}

static int most_bits(const search_work *w, int choice)
{
    const dt_candidates *c = &w->space->choice[choice].candidates;
    int most = c->value[0];

    for (int i = 1; i < c->n; i++) most = c->value[i] > most ? c->value[i] : most;
    return most;
}

/* The layers whose weights are chosen, and whose input is chosen or fixed. */
static dt_status find_layers(learning *l)
{
    const dt_search_space *s = l->w->space;

    l->layer = calloc((size_t)s->n_rows + 1, sizeof *l->layer);
    l->bits = calloc((size_t)s->n_rows + 1, sizeof *l->bits);
    DT_CHECK(l->layer && l->bits, DT_ERR_MEMORY, "no memory for %d rows", s->n_rows);
    for (int i = 0; i < s->n_rows; i++) {
        const dt_search_row *row = &s->row[i], *source = row->reads >= 0 ? &s->row[row->reads] : NULL;
        const int choice = row->choice[DT_CHOICE_KERNEL];
        if (choice < 0 || !source || (source->bits == 0 && source->choice[DT_CHOICE_ACTIVATION] < 0)) continue;
        const int wbits = most_bits(l->w, choice);
        const int abits = source->bits ? wbits : most_bits(l->w, source->choice[DT_CHOICE_ACTIVATION]);
        l->bits[l->n] = (dt_layer_bits){ row->name, wbits, abits, 0 };
        l->layer[l->n++] = (learned_layer){ .row = row, .source = source->bits ? NULL : source };
    }
    DT_CHECK(l->n > 0, DT_ERR_ARGUMENT, "no layer has bits of both weights and activations to learn");
    return DT_OK;
}

static int param_named(const dt_model *m, const char *layer, const char *part)
{
    char name[DT_NAME_MAX + VALUE_BYTES];
    dt_param_info p;

    snprintf(name, sizeof name, "%s.%s", layer, part);
    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_model_param(m, i, &p);
        if (strcmp(p.name, name) == 0) return i;
    }
    return -1;
}

static dt_status find_params(learning *l)
{
    for (int i = 0; i < l->n; i++) {
        learned_layer *layer = &l->layer[i];
        const char *name = layer->row->name;
        layer->weight = param_named(l->o.model, name, "weight");
        layer->w_step = param_named(l->o.model, name, "weight_quant.wgt_alpha");
        layer->a_step = layer->source ? param_named(l->o.model, name, "act_alpha") : -1;
        layer->a_bits = layer->source ? l->bits[i].abits : l->w->p.goal.input_bits;
        layer->w_bits = l->bits[i].wbits;
        DT_CHECK(layer->weight >= 0 && layer->w_step >= 0 && (!layer->source || layer->a_step >= 0), DT_ERR_UNSUPPORTED,
                 "%s: its weights are no parameter with a learned step", name);
    }
    return DT_OK;
}

static dt_status open_training(learning *l)
{
    const settings *s = l->w->s;
    dt_model_config cfg;
    dt_model_info is;
    int n_loaded;

    DT_CHECK(s->checkpoint, DT_ERR_ARGUMENT, "--mode gradient begins with a trained network: --checkpoint is needed");
    DT_TRY(dt_model_config_default(s->checkpoint, &cfg));
    cfg.wbits = cfg.abits = DT_BITS_FLOAT;
    cfg.rule = DT_RULE_LSQ;
    cfg.input_bits = l->run.model.input_bits;
    cfg.sum_bits = l->run.model.sum_bits;
    cfg.layer_bits = l->bits;
    cfg.n_layer_bits = l->n;
    DT_TRY(session_open_context(&l->run, &l->o));
    DT_TRY(dt_model_create(l->o.ctx, &cfg, &l->o.model));
    DT_TRY(dt_checkpoint_load_partial(l->o.model, s->checkpoint, NULL, NULL, &n_loaded));
    dt_model_look(l->o.model, &is);
    DT_TRY(session_open_dataset(&l->run, &is, DT_SPLIT_TRAIN, &l->o.train_set));
    DT_TRY(dt_trainer_create(l->o.model, l->o.train_set, &l->run.train, &l->o.trainer));
    DT_TRY(dt_trainer_calibrate(l->o.trainer));
    return find_params(l);
}

/* ---- bits in use ---- */

static dt_status read_param(const dt_model *m, int i, float **out, int64_t *n)
{
    dt_param_info p;

    dt_model_param(m, i, &p);
    float *value = malloc((size_t)p.count * sizeof *value);
    DT_CHECK(value, DT_ERR_MEMORY, "no memory for %s", p.name);
    const dt_status status = dt_model_read(m, i, value);
    if (status != DT_OK) {
        free(value);
        return status;
    }
    *out = value;
    *n = p.count;
    return DT_OK;
}

static double bits_between(double bits, double most)
{
    return bits < BITS_LEAST ? BITS_LEAST : bits > most ? most : bits;
}

/* Of the filter that has the most codes in use. */
static dt_status look_at_weights(learning *l, int i)
{
    learned_layer *layer = &l->layer[i];
    float *w = NULL, *step = NULL;
    int64_t n = 0, n_steps = 1;
    double most = 0.0;

    DT_TRY(read_param(l->o.model, layer->weight, &w, &n));
    const dt_status status = read_param(l->o.model, layer->w_step, &step, &n_steps);
    if (status != DT_OK) {
        free(w);
        return status;
    }
    for (int64_t k = 0; k < n; k++) most = fmax(most, fabs((double)w[k]) / (double)step[k / (n / n_steps)]);
    free(w);
    free(step);
    layer->w_most = most;
    layer->w_bits = bits_between(log2(most + 1.0) + 1.0, l->bits[i].wbits);
    return DT_OK;
}

static learned_layer *layer_of(learning *l, const char *value)
{
    for (int i = 0; i < l->n; i++) {
        if (l->layer[i].source && strcmp(l->layer[i].source->name, value) == 0) return &l->layer[i];
    }
    return NULL;
}

static int is_wanted(void *user, const char *name)
{
    return layer_of(user, name) != NULL;
}

static dt_status count_codes(void *user, const dt_value_batch *v)
{
    learned_layer *layer = layer_of(user, v->name);
    int64_t n = 1;

    for (int d = 0; d < v->ndim; d++) n *= v->dim[d];
    for (int64_t i = 0; i < n; i++) {
        const int code = (int)fabsf(v->values[i]);
        layer->code[code < CODES ? code : CODES - 1]++;
        layer->is_signed |= v->values[i] < 0.0f;
    }
    return DT_OK;
}

static int most_code(const learned_layer *layer)
{
    int64_t n = 0, so_far = 0;
    int q = 0;

    for (int c = 0; c < CODES; c++) n += layer->code[c];
    for (; q < CODES - 1; q++) {
        so_far += layer->code[q];
        if ((double)so_far >= HELD_CODES * (double)n) break;
    }
    return q;
}

static dt_status look_at_activations(learning *l)
{
    dt_dataset_view v;

    dt_dataset_look(l->o.train_set, &v);
    const int64_t n = v.n < LOOK_IMAGES ? v.n : LOOK_IMAGES;
    float *scores = malloc((size_t)n * (size_t)v.n_classes * sizeof *scores * 4);
    const dt_prediction how = { .dataset = l->o.train_set, .n = n, .look = count_codes, .wants = is_wanted, .user = l };

    DT_CHECK(scores, DT_ERR_MEMORY, "no memory for the scores of %lld images", (long long)n);
    for (int i = 0; i < l->n; i++) memset(l->layer[i].code, 0, sizeof l->layer[i].code);
    const dt_status status = dt_predict(l->o.model, &how, scores);
    free(scores);
    for (int i = 0; i < l->n && status == DT_OK; i++) {
        learned_layer *layer = &l->layer[i];
        if (!layer->source) continue;
        layer->a_most = most_code(layer);
        layer->a_bits = bits_between(log2(layer->a_most + 1.0) + layer->is_signed, l->bits[i].abits);
    }
    return status;
}

static dt_status look(learning *l)
{
    for (int i = 0; i < l->n; i++) DT_TRY(look_at_weights(l, i));
    return look_at_activations(l);
}

/* ---- the penalty ---- */

static double bops_of(const learned_layer *layer)
{
    return (double)layer->row->macs * layer->w_bits * layer->a_bits;
}

static double all_bops(const learning *l)
{
    double sum = 0.0;

    for (int i = 0; i < l->n; i++) sum += bops_of(&l->layer[i]);
    return sum;
}

static dt_status scale_steps(const learning *l, int param, double by)
{
    float *step = NULL;
    int64_t n = 0;

    DT_TRY(read_param(l->o.model, param, &step, &n));
    for (int64_t k = 0; k < n; k++) step[k] = (float)((double)step[k] * by);
    const dt_status status = dt_model_write(l->o.model, param, step);
    free(step);
    return status;
}

/* Makes steps so small that all codes of the most bits are in use. LSQ's own first steps leave many unused. */
static dt_status use_all_codes(learning *l)
{
    DT_TRY(look(l));
    for (int i = 0; i < l->n; i++) {
        const learned_layer *k = &l->layer[i];
        const double w_high = exp2(l->bits[i].wbits - 1) - 1.0, a_high = exp2(l->bits[i].abits - k->is_signed) - 1.0;
        if (k->w_most > 0.0) DT_TRY(scale_steps(l, k->w_step, k->w_most / w_high));
        if (k->source && k->a_most > 0.0) DT_TRY(scale_steps(l, k->a_step, k->a_most / a_high));
    }
    return DT_OK;
}

/* BOPs that a bit of a quantizer is worth; 0 where it has none to lose. */
static double worth(const learned_layer *k, double bits)
{
    return bits > BITS_LEAST ? bops_of(k) / bits : 0.0;
}

/* A step down the penalty's gradient, so long that BOPs become `factor` of what they are, to first order. */
static dt_status push(const learning *l, double factor)
{
    double squares = 0.0;

    for (int i = 0; i < l->n; i++) {
        const learned_layer *k = &l->layer[i];
        const double w = worth(k, k->w_bits), a = k->source ? worth(k, k->a_bits) : 0.0;
        squares += w * w + a * a;
    }
    const double length = squares > 0.0 ? all_bops(l) * (1.0 - factor) / squares : 0.0;
    for (int i = 0; i < l->n; i++) {
        const learned_layer *k = &l->layer[i];
        DT_TRY(scale_steps(l, k->w_step, exp2(fmin(length * worth(k, k->w_bits), FALL_MOST))));
        if (k->source) DT_TRY(scale_steps(l, k->a_step, exp2(fmin(length * worth(k, k->a_bits), FALL_MOST))));
    }
    return DT_OK;
}

/* ---- the whole ---- */

/* The candidate nearest to the bits, of two the one with more. */
static int nearest(const dt_candidates *c, double bits)
{
    int best = 0;

    for (int i = 1; i < c->n; i++) {
        const double d = fabs(c->value[i] - bits), least = fabs(c->value[best] - bits);
        if (d < least || (d == least && c->value[i] > c->value[best])) best = i;
    }
    return best;
}

static void round_bits(const learning *l, int *configuration)
{
    const dt_search_space *s = l->w->space;

    for (int c = 0; c < s->n_choices; c++) configuration[c] = 0;
    for (int i = 0; i < l->n; i++) {
        const learned_layer *k = &l->layer[i];
        const int w = k->row->choice[DT_CHOICE_KERNEL];
        configuration[w] = nearest(&s->choice[w].candidates, k->w_bits);
        if (!k->source) continue;
        const int a = k->source->choice[DT_CHOICE_ACTIVATION];
        configuration[a] = nearest(&s->choice[a].candidates, k->a_bits);
    }
}

/* BOPs of a configuration, as a share of those of the most bits. */
static double share_of(const learning *l, const int *configuration)
{
    dt_search_goal bops = l->w->p.goal;
    dt_search_size size, most;
    int first[DT_SEARCH_CHOICES] = { 0 };

    bops.kind = DT_SIZE_BOPS;
    for (int c = 0; c < l->w->space->n_choices; c++) {
        const dt_candidates *k = &l->w->space->choice[c].candidates;
        first[c] = nearest(k, most_bits(l->w, c));
    }
    dt_search_size_of(l->w->space, &bops, configuration, &size, NULL);
    dt_search_size_of(l->w->space, &bops, first, &most, NULL);
    return size.total / most.total;
}

static dt_status train_bits(learning *l, int *configuration)
{
    const int64_t steps = dt_trainer_steps_per_epoch(l->o.trainer) * l->run.train.epochs;
    const int64_t each = steps / PUSHES > 0 ? steps / PUSHES : 1;
    const double wanted = (double)l->w->s->bops_share;
    double share = 1.0;

    DT_TRY(use_all_codes(l));
    if (!l->w->s->json) printf("%8s %12s %8s %8s\n", "step", "BOPs in use", "rounded", "loss");
    for (int64_t done = 0; done < steps && share > wanted; done += each) {
        dt_metrics metrics;
        DT_TRY(dt_trainer_run(l->o.trainer, done + each <= steps ? each : steps - done));
        DT_CHECK(!interrupt_requested(), DT_ERR_INTERRUPTED, "stopped while bits were learned");
        DT_TRY(dt_trainer_metrics(l->o.trainer, &metrics));
        DT_TRY(look(l));
        round_bits(l, configuration);
        share = share_of(l, configuration);
        if (!l->w->s->json) {
            printf("%8lld %12.4g %6.1f %% %8.4f\n", (long long)dt_trainer_steps_done(l->o.trainer), all_bops(l),
                   100.0 * share, metrics.loss);
        }
        const int64_t left = (steps - done) / each - SPARE_PUSHES;
        if (share > wanted) DT_TRY(push(l, pow(wanted / share, 1.0 / (double)(left > 1 ? left : 1))));
    }
    if (share > wanted && !l->w->s->json) {
        printf("learned    %.1f %% of the BOPs and not %.1f %%; more --epochs may come nearer\n", 100.0 * share,
               100.0 * wanted);
    }
    return dt_trainer_check_values(l->o.trainer);
}

static dt_status learn(learning *l, int *configuration)
{
    DT_TRY(make_settings(l));
    DT_TRY(find_layers(l));
    DT_TRY(open_training(l));
    return train_bits(l, configuration);
}

/* ---- what was learned, in a file ---- */

static dt_status read_learned(search_work *w, const char *path, int *is_there)
{
    cJSON *list;

    DT_TRY(json_file_read(path, "; remove it", &list));
    *is_there = list != NULL;
    if (!list) return DT_OK;
    const int is_whole = cJSON_GetArraySize(list) == w->space->n_choices;
    for (int c = 0; is_whole && c < w->space->n_choices; c++) w->learned[c] = cJSON_GetArrayItem(list, c)->valueint;
    cJSON_Delete(list);
    DT_CHECK(is_whole, DT_ERR_FORMAT, "%s: it does not have a candidate for each choice; remove it", path);
    return DT_OK;
}

dt_status search_learn(search_work *w)
{
    learning l = { .w = w };
    char path[PATH_BYTES];
    int is_there = 0;

    DT_CHECK(w->p.what.rule == DT_RULE_LSQ, DT_ERR_ARGUMENT,
             "--mode gradient learns steps: give \"quant-rule\": \"lsq\" among the options");
    DT_TRY(run_dir_path(w->s->out, "learned.json", path));
    DT_TRY(read_learned(w, path, &is_there));
    if (is_there) return DT_OK;
    const dt_status status = learn(&l, w->learned);
    session_close(&l.o);
    free(l.bits);
    free(l.layer);
    DT_TRY(status);
    return json_file_write(path, cJSON_CreateIntArray(w->learned, w->space->n_choices));
}
