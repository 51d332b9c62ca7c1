/*
 * bench_ops.c - times every kernel of a network's training step, and says how far each is from the machine's limit.
 *
 * It records nothing of its own: the nodes are those of the trainer's tape, fused as it is, on the data of a real step.
 * Their results are checked first (ops_check.c), then whole steps are timed, then what this machine can do is measured
 * (ops_ceiling.c), then the nodes (ops_time.c). The floor is the step in which each node takes its ceiling's time.
 */
#include "ops.h"
#include "setup.h"

#include <stdio.h>

typedef struct {
    bench_setup setup;
    int rounds, json;
} bench_settings;

enum { OPT_ROUNDS = 256, MANY_EPOCHS = 1000, N_STEPS = 4 };

static const struct argp_option arguments[] = {
    { "rounds", OPT_ROUNDS, "N", 0, "timed rounds, at most 200 (20)", 0 },
    { "json", 'j', NULL, 0, "one JSON object on standard output", 0 },
    { 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
    bench_settings *s = state->input;

    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &s->setup; return 0;
    case OPT_ROUNDS: s->rounds = bench_number(arg, state); return 0;
    case 'j': s->json = 1; return 0;
    case ARGP_KEY_END:
        if (s->rounds < 1 || s->rounds > OPS_MOST_ROUNDS) argp_error(state, "--rounds is 1..%d", OPS_MOST_ROUNDS);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* A row with its times reduced. */
typedef struct {
    const ops_row *row;
    bench_summary ms;
    double ceiling_ms, share;
    int is_memory;
} line;

static line line_of(ops_row *row, const ops_ceilings *c)
{
    line l = { .row = row, .ms = bench_summarise(row->ms, row->n_ms) };
    l.ceiling_ms = ops_ceiling_ms(c, &row->cost, &l.is_memory);
    l.share = l.ms.median > 0.0 ? l.ceiling_ms / l.ms.median : 0.0;
    return l;
}

typedef struct {
    ops_ceilings ceilings;
    bench_summary step; /* ms */
    line *line;
    int n_lines;
    double sum_ms, floor_ms;
} results;

static dt_status measure(const bench_settings *s, ops_table *table, results *out)
{
    double step_ms[OPS_MOST_ROUNDS];

    DT_TRY(ops_time_step(table->trainer, step_ms, s->rounds));
    out->step = bench_summarise(step_ms, s->rounds);
    DT_TRY(ops_ceilings_measure(table->trainer->model->ctx, &out->ceilings));
    DT_TRY(ops_time(table, s->rounds));
    out->line = calloc((size_t)table->n_rows, sizeof *out->line);
    DT_CHECK(out->line, DT_ERR_MEMORY, "no memory for %d lines", table->n_rows);
    for (int i = 0; i < table->n_rows; i++) {
        const line l = out->line[out->n_lines++] = line_of(&table->row[i], &out->ceilings);
        out->sum_ms += l.ms.median;
        out->floor_ms += l.ceiling_ms;
    }
    return DT_OK;
}

/* ---- output ---- */

static void print_array(const char *name, const double *value, double unit)
{
    printf("\"%s\": [", name);
    for (int i = 0; i < OPS_SIZES; i++) printf("%s%.4g", i ? ", " : "", value[i] / unit);
    printf("], ");
}

static void print_json_line(const line *l)
{
    const ops_cost *c = &l->row->cost;
    printf("{\"op\": \"%s\", \"name\": \"%s\", \"pass\": \"%s\", \"nodes\": %d, \"ms\": %.5f, \"ms_min\": %.5f, "
           "\"ceiling_ms\": %.5f, \"share\": %.4f, \"bound\": \"%s\", \"bytes\": %.0f, \"flop\": %.0f, \"unit\": "
           "\"%s\", \"gb_per_s\": %.2f, \"gflops\": %.2f, \"checked\": \"%s\", "
           "\"error\": %.3g}",
           l->row->op, l->row->name, ops_pass_names[l->row->pass], l->row->count, l->ms.median, l->ms.least,
           l->ceiling_ms, l->share, l->is_memory ? "memory" : "compute", c->bytes, c->flop, ops_unit_names[c->unit],
           c->bytes / l->ms.median / 1e6, c->flop / l->ms.median / 1e6, l->row->checked.how, l->row->checked.error);
}

static void print_json(const bench_settings *s, const dt_context *ctx, const results *r)
{
    const ops_ceilings *c = &r->ceilings;

    printf("{");
    bench_print_setup(&s->setup, ctx);
    printf(", \"rounds\": %d, \"step_ms\": {\"median\": %.4f, \"min\": %.4f}, \"sum_ms\": %.4f, \"floor_ms\": %.4f,\n",
           s->rounds, r->step.median, r->step.least, r->sum_ms, r->floor_ms);
    printf(" \"ceilings\": {");
    print_array("mib", c->bytes, 1048576.0);
    print_array("copy_gb_per_s", c->copy, 1e6);
    print_array("read_gb_per_s", c->read, 1e6);
    for (int u = 0; u < OPS_UNITS; u++) printf("\"%s_gflops\": %.1f, ", ops_unit_names[u], c->peak[u] / 1e6);
    printf("\"launch_ms\": %.5f},\n \"rows\": [\n", c->launch_ms);
    for (int i = 0; i < r->n_lines; i++) {
        printf("  ");
        print_json_line(&r->line[i]);
        printf("%s\n", i + 1 < r->n_lines ? "," : "");
    }
    printf(" ]}\n");
}

static void print_ceilings(const ops_ceilings *c)
{
    printf("ceilings  GB/s of a copy (read)");
    for (int i = 0; i < OPS_SIZES; i++) {
        printf("  %.0f MiB: %.0f (%.0f)", c->bytes[i] / 1048576.0, c->copy[i] / 1e6, c->read[i] / 1e6);
    }
    printf("\n          GFLOP/s");
    for (int u = 0; u < OPS_UNITS; u++) printf("  %s %.0f", ops_unit_names[u], c->peak[u] / 1e6);
    printf("\n\n");
}

static void print_line(const line *l)
{
    const ops_cost *c = &l->row->cost;
    const ops_checked *k = &l->row->checked;
    char name[64], checked[32];

    snprintf(checked, sizeof checked, k->error > 0.0 ? "%s, %.2g off" : "%s", k->how, k->error);
    snprintf(name, sizeof name, l->row->count > 1 ? "%s and %d more" : "%s", l->row->name, l->row->count - 1);
    printf("%-14s %-24s %-8s %9.3f %9.3f %9.1f %9.2f %8.1f %8.1f  %5.1f %% of %-7s %s\n", l->row->op, name,
           ops_pass_names[l->row->pass], l->ms.median, l->ms.least, c->bytes / 1048576.0, c->flop / 1e9,
           c->bytes / l->ms.median / 1e6, c->flop / l->ms.median / 1e6, 100.0 * l->share,
           l->is_memory ? "memory" : ops_unit_names[c->unit], checked);
}

/* One line for each operator and pass, in the order of the first. */
static void print_sums(const results *r)
{
    printf("\n%-14s %-8s %5s %9s %9s %8s\n", "operator", "pass", "rows", "ms", "ceiling", "share");
    for (int i = 0; i < r->n_lines; i++) {
        const ops_row *first = r->line[i].row;
        double ms = 0.0, ceiling = 0.0;
        int n = 0, is_first = 1;
        for (int j = 0; j < r->n_lines; j++) {
            if (strcmp(r->line[j].row->op, first->op) != 0 || r->line[j].row->pass != first->pass) continue;
            if (j < i) is_first = 0;
            ms += r->line[j].ms.median;
            ceiling += r->line[j].ceiling_ms;
            n++;
        }
        if (!is_first) continue;
        printf("%-14s %-8s %5d %9.3f %9.3f %6.1f %%\n", first->op, ops_pass_names[first->pass], n, ms, ceiling,
               100.0 * ceiling / ms);
    }
}

static void print_table(const bench_settings *s, const dt_context *ctx, const results *r)
{
    const dt_model_config *m = &s->setup.model;

    printf("%s choke %d w%da%d, batch %d, %s, %s (%s), %d rounds\n", m->name, dt_model_option_value(m, "choke"),
           m->wbits, m->abits, s->setup.batch, dt_precision_names[s->setup.options.precision], dt_context_backend(ctx),
           dt_context_device(ctx), s->rounds);
    print_ceilings(&r->ceilings);
    printf("%-14s %-24s %-8s %9s %9s %9s %9s %8s %8s  %-18s %s\n", "operator", "node", "pass", "ms", "ms min", "MiB",
           "GFLOP", "GB/s", "GFLOP/s", "share", "checked");
    for (int i = 0; i < r->n_lines; i++) print_line(&r->line[i]);
    print_sums(r);
    printf("\nstep %.2f ms median, %.2f minimum; nodes %.2f ms together; floor %.2f ms: the step is at %.0f %% of it\n",
           r->step.median, r->step.least, r->sum_ms, r->floor_ms, 100.0 * r->floor_ms / r->step.median);
}

static dt_status bench(bench_settings *s)
{
    bench_run run = { 0 };
    ops_table table = { 0 };
    results r = { 0 };

    dt_status status = bench_run_open(&s->setup, N_STEPS * (int64_t)s->setup.batch, 0, MANY_EPOCHS, &run);
    if (status == DT_OK) status = ops_table_create(run.trainer, &table);
    if (status == DT_OK) status = measure(s, &table, &r);
    if (status == DT_OK && s->json) print_json(s, run.ctx, &r);
    if (status == DT_OK && !s->json) print_table(s, run.ctx, &r);
    free(r.line);
    ops_table_destroy(&table);
    bench_run_close(&run);
    return status;
}

int main(int argc, char **argv)
{
    static const struct argp_child children[] = { { &bench_setup_argp, 0, NULL, 0 }, { 0 } };
    static const struct argp argp = { arguments, parse, NULL, "Times every kernel of a training step.",
                                      children,  NULL,  NULL };
    bench_settings s = { .rounds = 20 };

    if (bench_setup_default(&s.setup) != DT_OK) return 1;
    argp_parse(&argp, argc, argv, 0, NULL, &s);
    if (bench(&s) == DT_OK) return 0;
    fprintf(stderr, "bench_ops: %s\n", dt_last_error());
    return 1;
}
