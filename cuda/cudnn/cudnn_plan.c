/*
 * cudnn_plan.c - chooses the engine of a convolution: the fastest of those that keep our rules.
 *
 * Engines are refused if their sums are not deterministic, if they transform (Winograd, FFT), or if they accumulate in
 * less than 32 bits. So forward on codes whose psums stay below 2^24 is exact with any engine that is left. Gradients
 * depend on an engine's order of sums. So a choice made by the clock must hold for later runs too, or they would differ
 * in their last bits. If it cannot be kept, engines are not timed.
 *
 * Source: NVIDIA, "cuDNN backend API reference", version 9, cudnn_graph library.
 * Tests: tests/cuda/test_cudnn_plans.c, tests/cuda/test_cudnn_plans_forms.c, on described devices; the parts that a
 * clock needs: test_plan_cache.c, test_stopwatch.c.
 */
#include "cudnn_plan.h"

#include "../../core/align.h"
#include "../cuda_check.h"
#include "plan_cache.h"
#include "../stopwatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIGS = 64, MAX_NOTES = 16, MAX_KNOBS = 64, KEY_BYTES = 1024 };

/* How many are timed, and how many of these compile a kernel first: that takes a second or so, each time the program
 * starts, and a network has dozens of problems for which all engines do. */
enum { MAX_TIMED = 8, MAX_COMPILED = 1 };

/* A configuration that keeps our rules, ready to run. */
typedef struct {
    dt_descriptor *config; /* in the list of the heuristics, which owns it */
    dt_descriptor plan;    /* NULL: of a described device, for which nothing is compiled */
    size_t workspace_bytes;
    int compiled;
    char engine[DT_ENGINE_TEXT];
} candidate;

typedef struct {
    candidate of[MAX_TIMED];
    int n;
} candidates;

/* No note of cuDNN 9.19 names TF32. Among engines of f32 operands, those that multiply on tensor cores round them to
 * it. */
static int note_is_allowed(const dt_conv_problem *p, cudnnBackendNumericalNote_t note)
{
    switch (note) {
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
    case CUDNN_NUMERICAL_NOTE_FFT:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13: return 0;
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS: return !p->keep_f32;
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE: return p->operand != DT_F32 || !p->keep_f32;
    default: return 1;
    }
}

/* Engines of some 8-bit convolutions want their operands in another order, which another call would make. */
static int habit_is_allowed(cudnnBackendBehaviorNote_t habit)
{
    return habit != CUDNN_BEHAVIOR_NOTE_REQUIRES_FILTER_INT8x32_REORDER &&
           habit != CUDNN_BEHAVIOR_NOTE_REQUIRES_BIAS_INT8x32_REORDER;
}

/* Whether an engine keeps our rules, whether it compiles its kernel at run time, and its number. */
static dt_status look_at_engine(const dt_conv_problem *p, dt_descriptor engine, int *allowed, int *compiled,
                                int64_t *number)
{
    cudnnBackendNumericalNote_t note[MAX_NOTES];
    cudnnBackendBehaviorNote_t habit[MAX_NOTES];
    int64_t n_notes = 0, n_habits = 0, n = 0;

    DT_CUDNN(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n, number));
    DT_CUDNN(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, MAX_NOTES,
                                      &n_notes, note));
    DT_CUDNN(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE, MAX_NOTES,
                                      &n_habits, habit));
    *allowed = n_notes <= MAX_NOTES && n_habits <= MAX_NOTES;
    *compiled = 0;
    for (int64_t i = 0; *allowed && i < n_notes; i++) *allowed = note_is_allowed(p, note[i]);
    for (int64_t i = 0; *allowed && i < n_habits; i++) {
        *allowed = habit_is_allowed(habit[i]);
        *compiled |= habit[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
    }
    return DT_OK;
}

/* Adds " knob=value" of each choice to text. */
static dt_status write_choices(const dt_descriptor *choice, int64_t n_choices, char *text, size_t bytes)
{
    size_t length = strlen(text);

    for (int64_t i = 0; i < n_choices; i++) {
        cudnnBackendKnobType_t knob;
        int64_t value = 0, n = 0;
        DT_CUDNN(
            cudnnBackendGetAttribute(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &n, &knob));
        DT_CUDNN(
            cudnnBackendGetAttribute(choice[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &n, &value));
        length += (size_t)snprintf(text + length, bytes - length, " %d=%" PRId64, (int)knob, value);
        DT_CHECK(length < bytes, DT_ERR_RANGE, "an engine of cuDNN has %" PRId64 " knobs", n_choices);
    }
    return DT_OK;
}

static dt_status write_knobs(dt_descriptor config, char *text, size_t bytes)
{
    dt_descriptor choice[MAX_KNOBS] = { NULL };
    cudnnStatus_t got = CUDNN_STATUS_SUCCESS;
    dt_status status = DT_OK;
    int64_t n = 0;

    for (int i = 0; i < MAX_KNOBS && got == CUDNN_STATUS_SUCCESS; i++) {
        got = cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &choice[i]);
    }
    if (got == CUDNN_STATUS_SUCCESS) {
        got = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       MAX_KNOBS, &n, choice);
    }
    if (got == CUDNN_STATUS_SUCCESS) status = write_choices(choice, n < MAX_KNOBS ? n : MAX_KNOBS, text, bytes);
    for (int i = 0; i < MAX_KNOBS; i++) {
        if (choice[i]) (void)cudnnBackendDestroyDescriptor(choice[i]);
    }
    DT_CUDNN(got);
    return status;
}

/* Fills in what a configuration says by itself; its engine's text stays empty if it breaks our rules. */
static dt_status look_at_config(const dt_conv_problem *p, dt_descriptor config, candidate *out)
{
    int64_t n_engines = 0, number = 0;
    dt_descriptor engine = NULL;
    int allowed = 0;

    out->engine[0] = '\0';
    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    const cudnnStatus_t got = cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n_engines, &engine);
    dt_status status = DT_OK;
    if (got == CUDNN_STATUS_SUCCESS) status = look_at_engine(p, engine, &allowed, &out->compiled, &number);
    (void)cudnnBackendDestroyDescriptor(engine);
    DT_CUDNN(got);
    DT_TRY(status);
    if (!allowed) return DT_OK;
    snprintf(out->engine, sizeof out->engine, "%" PRId64, number);
    return write_knobs(config, out->engine, sizeof out->engine);
}

/* Makes the execution plan of a configuration; DT_OK with out->plan NULL if cuDNN declines after all. */
static dt_status finish_plan(const dt_cudnn *cudnn, dt_descriptor config, candidate *out)
{
    int64_t workspace = 0, n = 0;
    dt_descriptor d = NULL;

    DT_CUDNN(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &d));
    dt_status status = dt_cudnn_set_part(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    if (status == DT_OK && cudnn->handle) {
        status = dt_cudnn_set(d, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &cudnn->handle);
    } else if (status == DT_OK) {
        status = dt_cudnn_set_part(d, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, cudnn->device);
    }
    const int made = status == DT_OK && cudnnBackendFinalize(d) == CUDNN_STATUS_SUCCESS &&
                     cudnnBackendGetAttribute(d, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                                              &workspace) == CUDNN_STATUS_SUCCESS;
    if (!made) {
        (void)cudnnBackendDestroyDescriptor(d);
        return status;
    }
    out->plan = d;
    out->workspace_bytes = (size_t)workspace;
    return DT_OK;
}

/* Makes the first `most` configurations ready that keep our rules and that cuDNN can make a plan of; only: of the
 * engine with this text, unless it is NULL. On failure too, what is in `out` is to be dropped. */
static dt_status collect(const dt_conv_plan *plan, dt_descriptor *config, int64_t n, const char *only, int most,
                         candidates *out)
{
    const int described = plan->cudnn->handle == NULL;
    int n_compiled = 0;

    for (int64_t i = 0; i < n && out->n < most; i++) {
        candidate c = { .config = &config[i] };
        DT_TRY(look_at_config(&plan->problem, config[i], &c));
        if (c.engine[0] == '\0' || (only && strcmp(c.engine, only) != 0)) continue;
        if (c.compiled && n_compiled == MAX_COMPILED) continue;
        const int only_checked = c.compiled && described;
        if (!only_checked) DT_TRY(finish_plan(plan->cudnn, config[i], &c));
        if (!c.plan && !only_checked) continue;
        n_compiled += c.compiled;
        out->of[out->n++] = c;
    }
    return DT_OK;
}

/* What a contest of candidates needs: a trial plan that takes the place of each, and memory of the real size. */
typedef struct {
    const candidates *all;
    dt_conv_plan trial;
    char *memory;
    size_t offset[4]; /* of a, b, result, workspace */
} contest;

static dt_status run_candidate(void *user, int way)
{
    contest *c = user;

    c->trial.plan = c->all->of[way].plan;
    return dt_conv_plan_run(&c->trial, c->memory + c->offset[0], c->memory + c->offset[1], c->memory + c->offset[2],
                            c->memory + c->offset[3]);
}

/* Places the parts one after another; returns how many bytes that are. */
static size_t lay_out(contest *c)
{
    const dt_conv_problem *p = &c->trial.problem;
    size_t at = 0, bytes[4] = { 0 };
    int64_t count[3];

    dt_conv_counts(p, count);
    for (int i = 0; i < 3; i++) bytes[i] = (size_t)count[i] * dt_type_bytes(i < 2 ? p->operand : p->result);
    for (int i = 0; i < c->all->n; i++) {
        if (c->all->of[i].workspace_bytes > bytes[3]) bytes[3] = c->all->of[i].workspace_bytes;
    }
    for (int i = 0; i < 4; i++) {
        c->offset[i] = at;
        at += dt_round_up(bytes[i], DT_ALIGN);
    }
    return at + DT_ALIGN; /* so that a workspace of no bytes has an address */
}

/* *fastest is -1 if it cannot be told, be it for want of memory. */
static dt_status find_fastest(const dt_conv_plan *plan, const candidates *all, int *fastest)
{
    contest c = { .all = all, .trial = { .problem = plan->problem, .cudnn = plan->cudnn } };
    const dt_contest race = { (cudaStream_t)plan->cudnn->stream, run_candidate, &c, all->n };
    const size_t bytes = lay_out(&c);

    *fastest = -1;
    if (cudaMalloc((void **)&c.memory, bytes) != cudaSuccess) {
        (void)cudaGetLastError();
        return DT_OK;
    }
    /* 0x11 in each byte is a small positive number in every type; zeros would cost less power than real operands */
    const cudaError_t filled = cudaMemsetAsync(c.memory, 0x11, bytes, race.stream);
    const dt_status raced = filled == cudaSuccess ? dt_contest_run(&race, fastest) : DT_OK;
    (void)cudaFree(c.memory);
    DT_CUDA(filled);
    return raced;
}

/* The candidate that is the fastest, or that another process found to be so; 0 if that cannot be kept. */
static dt_status choose_by_time(const dt_conv_plan *plan, const char *key, const candidates *all, int *chosen)
{
    char engine[DT_ENGINE_TEXT];
    int fastest = -1;

    *chosen = 0;
    DT_TRY(find_fastest(plan, all, &fastest));
    if (fastest < 0) return DT_OK;
    strcpy(engine, all->of[fastest].engine);
    if (!dt_plan_cache_keep(key, engine, sizeof engine)) return DT_OK;
    for (int i = 0; i < all->n; i++) {
        if (strcmp(all->of[i].engine, engine) == 0) *chosen = i;
    }
    return DT_OK;
}

/* On a GPU: the engine that was kept, else the fastest. */
static dt_status choose_on_device(const dt_conv_plan *plan, dt_descriptor *config, int64_t n, candidates *out,
                                  int *chosen)
{
    char problem[KEY_BYTES / 2], key[KEY_BYTES], kept[DT_ENGINE_TEXT];

    snprintf(key, sizeof key, "cuDNN %zu, %s, %s", cudnnGetVersion(), plan->cudnn->name,
             dt_conv_problem_text(&plan->problem, problem, sizeof problem));
    *chosen = 0;
    const int is_kept = dt_plan_cache_read(key, kept, sizeof kept);
    if (is_kept) DT_TRY(collect(plan, config, n, kept, 1, out));
    if (out->n > 0) return DT_OK;
    DT_TRY(collect(plan, config, n, NULL, dt_plan_cache_is_off() ? 1 : MAX_TIMED, out));
    if (out->n < 2) return DT_OK;
    if (is_kept) dt_plan_cache_forget(key); /* cuDNN has no such engine any more */
    return choose_by_time(plan, key, out, chosen);
}

/* Chooses among the configurations of a list, and takes the chosen one out of it. */
static dt_status choose_config(dt_conv_plan *plan, dt_descriptor *config, int64_t n)
{
    candidates all = { .n = 0 };
    int chosen = 0;
    const dt_status status = plan->cudnn->handle ? choose_on_device(plan, config, n, &all, &chosen)
                                                 : collect(plan, config, n, NULL, 1, &all);

    for (int i = 0; i < all.n; i++) {
        const candidate *c = &all.of[i];
        if (status != DT_OK || i != chosen) {
            if (c->plan) (void)cudnnBackendDestroyDescriptor(c->plan);
            continue;
        }
        plan->plan = c->plan;
        plan->workspace_bytes = c->workspace_bytes;
        plan->compiled = c->compiled;
        strcpy(plan->engine, c->engine);
        plan->config = *c->config;
        *c->config = NULL;
    }
    return status;
}

static dt_status ask_heuristics(dt_conv_plan *plan, dt_descriptor graph, cudnnBackendHeurMode_t mode)
{
    dt_descriptor heuristics = NULL, config[MAX_CONFIGS] = { NULL };
    int64_t n = 0;

    DT_TRY(dt_cudnn_part(plan, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristics));
    DT_TRY(dt_cudnn_set_part(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph));
    DT_TRY(dt_cudnn_set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (plan->cudnn->device) {
        DT_TRY(dt_cudnn_set_part(heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, plan->cudnn->device));
    }
    if (cudnnBackendFinalize(heuristics) != CUDNN_STATUS_SUCCESS) return DT_OK; /* nothing offered in this mode */

    cudnnStatus_t got = CUDNN_STATUS_SUCCESS;
    for (int i = 0; i < MAX_CONFIGS && got == CUDNN_STATUS_SUCCESS; i++) {
        got = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]);
    }
    if (got == CUDNN_STATUS_SUCCESS) {
        got = cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                       MAX_CONFIGS, &n, config);
    }
    const dt_status status = got == CUDNN_STATUS_SUCCESS ? choose_config(plan, config, n) : DT_OK;
    for (int i = 0; i < MAX_CONFIGS; i++) {
        if (config[i]) (void)cudnnBackendDestroyDescriptor(config[i]);
    }
    DT_CUDNN(got);
    return status;
}

dt_status dt_conv_plan_choose(dt_conv_plan *plan, dt_descriptor graph)
{
    static const cudnnBackendHeurMode_t modes[] = { CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK };

    for (int i = 0; i < 2 && !plan->config; i++) DT_TRY(ask_heuristics(plan, graph, modes[i]));
    return DT_OK;
}
