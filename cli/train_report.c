/*
 * train_report.c - what `detent train` prints: results on stdout, progress on stderr.
 */
#include "train.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parameters of training alone. */
static int64_t decoder_count(const dt_model *m)
{
    static const char prefix[] = "decoder.";
    int64_t n = 0;
    dt_param_info p;

    for (int i = 0; i < dt_model_n_params(m); i++) {
        dt_model_param(m, i, &p);
        if (p.group == DT_GROUP_WEIGHT && strncmp(p.name, prefix, strlen(prefix)) == 0) n += p.count;
    }
    return n;
}

static void print_norms(const run *r)
{
    const char *mode = dt_fold_mode_names[r->s->model.fold_bn];

    if (r->is.n_folded_norms == 0) return;
    printf("batch norm %d folded (%s)", r->is.n_folded_norms, mode);
    if (r->is.n_norms > 0) printf(", %d of their own, which do not follow a layer", r->is.n_norms);
    if (r->s->model.bn_freeze > 0) printf("; statistics freeze after %d steps", r->s->model.bn_freeze);
    printf("\n");
}

void report_begin(const run *r)
{
    dt_dataset_view train, test;

    if (r->s->quiet) return;
    dt_dataset_look(r->o.train_set, &train);
    dt_dataset_look(r->o.test_set, &test);
    const int64_t n_decoder = decoder_count(r->o.model);
    printf("model      %s: %s parameters", text_network(r->o.model).s,
           text_count(dt_model_count(r->o.model) - n_decoder).s);
    if (n_decoder > 0) printf(" and %s of the decoder", text_count(n_decoder).s);
    printf(", %d quantized layers\n", dt_model_n_layers(r->o.model));
    print_norms(r);
    printf("data       %s: %s training and %s test %s, %dx%dx%d, %d %s", r->s->dataset, text_count(train.n).s,
           text_count(test.n).s, train.reals ? "samples" : "images", train.height, train.width, train.channels,
           train.n_classes, train.multi_label ? "labels" : "classes");
    if (r->s->val_size > 0) printf("; %s held out", text_count(r->s->val_size).s);
    printf("\n");
    printf("device     %s: %s; %s\n", dt_context_backend(r->o.ctx), dt_context_device(r->o.ctx),
           r->s->precision == DT_PRECISION_F32 ? "f32" : "mixed precision");
    print_fallback(r->o.ctx);
    if (!isnan(r->peak)) {
        printf("peak       %s images/s, if the products of a step ran at the GPU's measured peak and all else took no "
               "time\n",
               text_count((int64_t)r->peak).s);
    }
    if (r->dist) printf("ranks      %d, by %s\n", dt_dist_size(r->dist), dt_context_links(r->o.ctx));
}

static void print_loss(const dt_model_info *model, const dt_train_config *cfg)
{
    const int n_hard = cfg->hard_training ? cfg->epochs / 2 : 0;

    if (model->caps_dim == 0) {
        printf("loss       %scross-entropy, label smoothing %g%s\n", model->is_binary ? "binary " : "",
               (double)cfg->label_smoothing,
               model->is_binary && model->n_classes > 1 ? "; accuracy is the share of all labels" : "");
        return;
    }
    printf("loss       margin");
    if (n_hard > 0) printf(", hard from epoch %d", cfg->epochs - n_hard + 1);
    if (model->has_decoder) printf(", + %g * squared error of the decoder", (double)cfg->regularization_scale);
    printf("\n");
}

static void print_augmentation(const dt_train_config *cfg)
{
    const struct {
        const char *name;
        double amount;
    } all[] = { { "crop", cfg->crop_pad },
                { "shift", cfg->shift },
                { "rotation", (double)cfg->rotation },
                { cfg->flip_kind == DT_FLIP_ALTERNATING ? "alternating flip" : "flip", (double)cfg->flip_share },
                { "cutout", cfg->cutout },
                { "brightness", (double)cfg->brightness },
                { "contrast", (double)cfg->contrast } };
    int n = 0;

    printf("images    ");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].amount > 0.0) printf("%s %s %g", n++ ? "," : "", all[i].name, all[i].amount);
    }
    printf("%s\n", n ? "" : " as they are");
}

void report_position(const run *r)
{
    const dt_trainer *t = r->o.trainer;
    const dt_train_config *cfg = &r->s->train;

    if (r->s->quiet) return;
    printf("training   %d epochs of %s steps, batch %d, %s, lr %g %s, %s\n", dt_train_epochs(cfg),
           text_count(dt_trainer_steps_per_epoch(t)).s, cfg->batch, dt_optim_names[cfg->optim], (double)cfg->lr,
           dt_schedule_names[cfg->schedule], text_bytes(dt_trainer_bytes(t)).s);
    print_loss(&r->is, cfg);
    print_augmentation(cfg);
    if (dt_trainer_steps_done(t) > 0) {
        printf("resumed    after step %s, epoch %d\n", text_count(dt_trainer_steps_done(t)).s, dt_trainer_epoch(t));
    } else if (r->s->resume) {
        printf("resumed    at the begin: nothing was saved yet\n");
    }
}

double margin_of(const run *r, double loss, double reconstruction)
{
    if (!r->is.has_decoder) return NAN;
    return loss - (double)r->s->train.regularization_scale * reconstruction;
}

dt_status report_progress(run *r)
{
    const dt_trainer *t = r->o.trainer;
    const int64_t per_epoch = dt_trainer_steps_per_epoch(t), done = dt_trainer_steps_done(t);
    const int64_t in_epoch = (done - 1) % per_epoch + 1; /* called after a step */
    const double now = clock_seconds();
    const double steps_left = (double)(per_epoch * dt_train_epochs(&r->s->train) - done);
    char what[VALUE_BYTES];
    dt_metrics m;

    DT_TRY(dt_trainer_recent(r->o.trainer, &m));
    snprintf(what, sizeof what, "epoch %d/%d", r->state.epochs_ended + 1, dt_train_epochs(&r->s->train));
    const progress_view view = { .what = what,
                                 .done = in_epoch,
                                 .total = per_epoch,
                                 .images_per_s = (double)r->epoch_images / (now - r->epoch_begin),
                                 .peak_share = (double)r->epoch_images / (now - r->epoch_begin) / r->peak,
                                 .loss = m.loss,
                                 .margin = margin_of(r, m.loss, m.reconstruction),
                                 .accuracy = m.accuracy,
                                 .seconds_left = (now - r->run_begin) / (double)(done - r->first_step) * steps_left };
    progress_show(&r->bar, &view);
    return DT_OK;
}

/* "  loss 0.8123 (0.9001)"; nothing for NaN */
static void print_pair(const char *what, int decimals, double factor, const char *unit, double recent, double mean)
{
    if (isnan(recent)) return;
    printf("  %s %.*f%s (%.*f)", what, decimals, factor * recent, unit, decimals, factor * mean);
}

void report_batch(const run *r, const batch_line *line)
{
    const batch_values *a = &line->recent, *b = &line->mean;

    if (r->s->quiet) return;
    if (strcmp(line->event, "step") == 0)
        printf("epoch %d/%d", line->epoch, dt_train_epochs(&r->s->train));
    else
        printf("%s", line->event);
    printf(" [%" PRId64 "/%" PRId64 "]", line->batch, line->batches);
    print_pair("batch", 3, 1.0, " s", a->batch_s, b->batch_s);
    print_pair("data", 3, 1.0, " s", a->data_s, b->data_s);
    print_pair("loss", 4, 1.0, "", a->loss, b->loss);
    print_pair("margin", 4, 1.0, "", a->margin, b->margin);
    print_pair("reconstruction", 2, 1.0, "", a->reconstruction, b->reconstruction);
    print_pair("accuracy", 2, 100.0, " %", a->accuracy, b->accuracy);
    printf("\n");
}

void report_epoch(const run *r, const epoch_line *line, int best)
{
    if (r->s->quiet) return;
    const int epochs = dt_train_epochs(&r->s->train);
    printf("epoch %*d/%d  train %.4f", epochs < 100 ? 2 : 3, line->epoch, epochs, line->train_loss);
    if (!isnan(line->train_reconstruction)) {
        printf(" (margin %.4f, reconstruction %.2f)", margin_of(r, line->train_loss, line->train_reconstruction),
               line->train_reconstruction);
    }
    printf(" %5.2f %%", 100.0 * line->train_accuracy);
    if (!isnan(line->eval_loss)) {
        printf("  %s %.4f %5.2f %%", line->split, line->eval_loss, 100.0 * line->eval_accuracy);
    }
    printf("  lr %.3g", line->lr);
    if (!isnan(line->seconds)) {
        printf("  %s images/s", text_count((int64_t)(line->images_per_s + 0.5)).s);
        if (!isnan(r->peak)) printf(" (%.0f %% of peak)", 100.0 * line->images_per_s / r->peak);
        printf("  %s", text_seconds(line->seconds).s);
    }
    printf("%s\n", best ? "  best" : "");
}

static void print_quantizers(const dt_quant_report *q, int n)
{
    printf("  %-20s %10s %10s %12s %12s\n", "quantizer", "alpha", "clipped", "d alpha", "codes used");
    for (int i = 0; i < n; i++) {
        printf("  %-20s %10.4f %8.3f %% %12.3e %5d of %3d%s\n", q[i].name, (double)q[i].alpha, 100.0 * q[i].clip_rate,
               q[i].d_alpha, q[i].n_codes_used, q[i].n_codes, q[i].fixed ? "  fixed" : "");
    }
}

static int is_stuck(const dt_quant_report *q)
{
    return q->d_alpha == 0.0 && !q->fixed;
}

/* Where the first quantizer's input is the image: normalised pixels reach about 2, and a new clip stands at 8. A
 * learned step gets no gradient only where all of its input is 0. */
void warn_of_stuck_clips(const run *r, const dt_quant_report *q, int n)
{
    FILE *to = r->s->quiet ? stderr : stdout;
    const char *who = r->s->quiet ? "detent train: " : "";
    int n_inner = 0;

    if (n > 0 && is_stuck(&q[0])) {
        fprintf(to,
                "%swarning: %s: no pixel reaches the clip, so alpha gets no gradient and the image keeps only a few of "
                "its levels; train with --input-bits 8, or --start-clips mse\n",
                who, q[0].name);
    }
    for (int i = 1; i < n; i++) {
        if (!is_stuck(&q[i])) continue;
        if (n_inner++ == 0) fprintf(to, "%swarning:", who);
        fprintf(to, " %s", q[i].name);
    }
    if (n_inner > 0 && r->is.rule == DT_RULE_LSQ) {
        fprintf(to, ": no value but 0 arrives, so the step gets no gradient; train in float first, and from there with "
                    "--init\n");
    } else if (n_inner > 0) {
        const int begins_there = r->s->train.start_clips == DT_START_CLIPS_MSE;
        fprintf(to,
                ": nothing reaches the clip, so alpha gets no gradient and part of the codes is never used; "
                "%s--quant-rule scream learns from inside the clip\n",
                begins_there ? "" : "--start-clips mse begins where the values are, ");
    }
}

/* Steps that are taken again to see which codes go back and forth. */
enum { OSCILLATION_STEPS = 20 };

static dt_status print_oscillations(const run *r)
{
    const int n = dt_trainer_n_weight_quantizers(r->o.trainer);

    if (n == 0) return DT_OK;
    dt_oscillation_report *all = calloc((size_t)n, sizeof *all);
    DT_CHECK(all, DT_ERR_MEMORY, "no memory for a report of %d layers", n);
    const dt_status status = dt_trainer_oscillations(r->o.trainer, OSCILLATION_STEPS, all);
    const int freezes = r->s->train.freeze > 0.0f;
    if (status == DT_OK)
        printf("  %-20s %10s %10s %12s%s\n", "weights", "of", "oscillate", "codes used", freezes ? "     frozen" : "");
    for (int i = 0; status == DT_OK && i < n; i++) {
        printf("  %-20s %10s %10s %5d of %3d", all[i].name, text_count(all[i].n_weights).s,
               text_count(all[i].n_oscillating).s, all[i].n_codes_used, all[i].n_codes);
        if (freezes) printf(" %10s", text_count(all[i].n_frozen).s);
        printf("\n");
    }
    free(all);
    return status;
}

dt_status report_quantizers(const run *r)
{
    const int n = dt_trainer_n_quantizers(r->o.trainer);

    if (r->s->quiet || n == 0) return DT_OK;
    dt_quant_report *q = calloc((size_t)n, sizeof *q);
    DT_CHECK(q, DT_ERR_MEMORY, "no memory for a report of %d quantizers", n);
    const dt_status status = dt_trainer_report(r->o.trainer, q);
    if (status == DT_OK) {
        print_quantizers(q, n);
        warn_of_stuck_clips(r, q, n);
    }
    free(q);
    DT_TRY(status);
    return r->dist ? DT_OK : print_oscillations(r);
}

void report_end(const run *r)
{
    const run_state *state = &r->state;
    const run_end end = train_end(r);

    if (r->s->quiet) return;
    printf("complete   %d ", state->epochs_ended);
    if (end != END_ALL_EPOCHS) printf("of %d ", dt_train_epochs(&r->s->train));
    printf("epochs");
    if (end == END_STOP_AT) printf(", --stop-at %g is reached", (double)r->s->stop_at);
    if (end == END_PATIENCE) printf(", no new best in the last %d", state->epochs_ended - state->best_epoch);
    if (state->best_epoch == 0) {
        printf("; no accuracy could be measured, so there is no best network\n");
        return;
    }
    printf("; best %s accuracy %.2f %% after epoch %d, in %s/" TRAIN_BEST "\n",
           r->s->val_size > 0 ? "validation" : "test", 100.0 * state->best_accuracy, state->best_epoch, r->s->out);
    if (state->test_accuracy >= 0.0) printf("test       %.2f %% with that network\n", 100.0 * state->test_accuracy);
}
