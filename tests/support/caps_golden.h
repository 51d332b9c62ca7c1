/*
 * caps_golden.h - reads golden/caps_golden.txt (make_caps_golden.py has its format): a pair of network and decoder with
 *                 its parameters' seeds, losses, gradients and quantized outputs.
 */
#ifndef CAPS_GOLDEN_H
#define CAPS_GOLDEN_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { CAPS_CLASSES = 10, CAPS_PARAMS = 64, CAPS_RUNS = 8 };

typedef struct {
    char name[64];
    int seed;
    double offset, scale;
    double length, sum, first[2]; /* of its gradient, in PyTorch's order */
} caps_param;

/* The published code's forward with these fractional bits. */
typedef struct {
    char rounding[32];
    int weight, activation, routing;
    double lengths[CAPS_CLASSES], output[4];
} caps_run;

typedef struct {
    char network[32];
    int n_params, n_runs;
    caps_param param[CAPS_PARAMS];
    caps_run run[CAPS_RUNS];
    double lengths[2][CAPS_CLASSES], train_lengths[2][CAPS_CLASSES], output[4];
    double normal[3], hard[3]; /* total, margin, reconstruction */
} caps_golden;

static inline void caps_numbers(const char *text, double *out, int n)
{
    for (int i = 0; i < n; i++) {
        int used = 0;
        cr_assert(sscanf(text, "%lf%n", &out[i], &used) == 1, "%d numbers where %d belong", i, n);
        text += used;
    }
}

static inline void caps_gradient_line(caps_golden *g, const char *text)
{
    char name[64];
    int used = 0;
    double number[4];

    sscanf(text, "%63s%n", name, &used);
    caps_numbers(text + used, number, 4);
    for (int i = 0; i < g->n_params; i++) {
        if (strcmp(g->param[i].name, name) != 0) continue;
        g->param[i].length = number[0];
        g->param[i].sum = number[1];
        g->param[i].first[0] = number[2];
        g->param[i].first[1] = number[3];
    }
}

static inline void caps_line(caps_golden *g, const char *word, const char *text)
{
    caps_param *p = &g->param[g->n_params];
    caps_run *r = &g->run[g->n_runs];
    int used = 0;

    if (strcmp(word, "param") == 0) {
        sscanf(text, "%63s %d %lf %lf", p->name, &p->seed, &p->offset, &p->scale);
        g->n_params++;
    }
    if (strcmp(word, "quantized") == 0) {
        sscanf(text, "%31s %d %d %d%n", r->rounding, &r->weight, &r->activation, &r->routing, &used);
        caps_numbers(text + used, r->lengths, CAPS_CLASSES);
    }
    if (strcmp(word, "quantized_output") == 0) {
        sscanf(text, "%*s %*d %*d %*d%n", &used);
        caps_numbers(text + used, r->output, 4);
        g->n_runs++;
    }
    if (strcmp(word, "grad") == 0) caps_gradient_line(g, text);
    if (strcmp(word, "lengths0") == 0) caps_numbers(text, g->lengths[0], CAPS_CLASSES);
    if (strcmp(word, "lengths1") == 0) caps_numbers(text, g->lengths[1], CAPS_CLASSES);
    if (strcmp(word, "train_lengths0") == 0) caps_numbers(text, g->train_lengths[0], CAPS_CLASSES);
    if (strcmp(word, "train_lengths1") == 0) caps_numbers(text, g->train_lengths[1], CAPS_CLASSES);
    if (strcmp(word, "output") == 0) caps_numbers(text, g->output, 4);
    if (strcmp(word, "normal") == 0) caps_numbers(text, g->normal, 3);
    if (strcmp(word, "hard") == 0) caps_numbers(text, g->hard, 3);
}

/* The pair with that decoder. */
static inline void caps_golden_read(const char *decoder, caps_golden *g)
{
    static char line[4096];
    FILE *file = fopen(DETENT_TEST_GOLDEN "/caps_golden.txt", "r");
    char word[32], first[32], second[32];
    int inside = 0, used = 0;

    cr_assert(file, "golden/caps_golden.txt is missing");
    memset(g, 0, sizeof *g);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%31s%n", word, &used) != 1 || word[0] == '#') continue;
        if (strcmp(word, "pair") == 0) {
            sscanf(line + used, "%31s %31s", first, second);
            inside = strcmp(second, decoder) == 0;
            if (inside) strcpy(g->network, first);
        } else if (inside) {
            caps_line(g, word, line + used);
        }
    }
    fclose(file);
    cr_assert(g->n_params > 0 && g->n_runs > 0, "golden/caps_golden.txt has no decoder %s", decoder);
}

#endif /* CAPS_GOLDEN_H */
