/*
 * golden.h - reads golden/quant_weight.txt and golden/quant_act.txt, whose format golden/make_quant_golden.py
 * describes.
 */
#ifndef GOLDEN_H
#define GOLDEN_H

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "detent/detent.h"

enum { GOLDEN_MAX = 256 }; /* values of an input */

typedef struct {
    char name[32];
    int n;
    float mean, std; /* 0 and 1: not standardised */
    float value[GOLDEN_MAX], g[GOLDEN_MAX];
} golden_input;

typedef struct {
    dt_quant_rule rule;
    int bits;
    float alpha, scale, factor;
    float d_alpha, exact, size;
    int code[GOLDEN_MAX];
    float real[GOLDEN_MAX], d_value[GOLDEN_MAX];
} golden_case;

typedef void (*golden_visit)(const golden_input *in, const golden_case *c);

static inline float golden_float(FILE *file)
{
    uint32_t bits = 0;
    float value;
    cr_assert(fscanf(file, "%8" SCNx32, &bits) == 1, "a float is missing at byte %ld", ftell(file));
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* "name F", its name already known */
static inline float golden_field(FILE *file, const char *name)
{
    char word[32] = "";
    cr_assert(fscanf(file, "%31s", word) == 1 && strcmp(word, name) == 0, "'%s' where '%s' belongs", word, name);
    return golden_float(file);
}

static inline int golden_int_field(FILE *file, const char *name)
{
    char word[32] = "";
    int value = 0;
    cr_assert(fscanf(file, "%31s %d", word, &value) == 2 && strcmp(word, name) == 0, "'%s' where '%s' belongs", word,
              name);
    return value;
}

static inline void golden_floats(FILE *file, const char *name, int n, float *out)
{
    cr_assert(golden_int_field(file, name) == n, "%s has not %d values", name, n);
    for (int i = 0; i < n; i++) out[i] = golden_float(file);
}

static inline void golden_read_input(FILE *file, golden_input *in)
{
    cr_assert(fscanf(file, "%31s %d", in->name, &in->n) == 2 && in->n > 0 && in->n <= GOLDEN_MAX);
    in->mean = golden_field(file, "mean");
    in->std = golden_field(file, "std");
    golden_floats(file, "value", in->n, in->value);
    golden_floats(file, "g", in->n, in->g);
}

static inline dt_quant_rule golden_rule(const char *word)
{
    static const char *const names[] = { "ece284", "apot", "scream", "pact", "lsq" }; /* in the order of the type */
    int i = 0;
    while (i < 5 && strcmp(names[i], word) != 0) i++;
    cr_assert(i < 5, "rule '%s'", word);
    return (dt_quant_rule)i;
}

static inline void golden_read_case(FILE *file, int n, golden_case *c)
{
    char rule[32] = "";
    cr_assert(fscanf(file, "%31s", rule) == 1);
    c->rule = golden_rule(rule);
    c->bits = golden_int_field(file, "bits");
    c->alpha = golden_field(file, "alpha");
    c->scale = golden_field(file, "scale");
    c->factor = golden_field(file, "factor");
    c->d_alpha = golden_field(file, "d_alpha");
    c->exact = golden_field(file, "exact");
    c->size = golden_field(file, "size");
    cr_assert(golden_int_field(file, "code") == n, "not %d codes", n);
    for (int i = 0; i < n; i++) cr_assert(fscanf(file, "%d", &c->code[i]) == 1);
    golden_floats(file, "real", n, c->real);
    golden_floats(file, "d_value", n, c->d_value);
}

/* Calls visit for every case; returns how many there are. */
static inline int golden_each(const char *name, golden_visit visit)
{
    static golden_input in;
    static golden_case c;
    char path[4096], word[32] = "";
    int n_cases = 0;

    snprintf(path, sizeof path, "%s/%s", DETENT_TEST_GOLDEN, name);
    FILE *file = fopen(path, "r");
    cr_assert(file != NULL, "%s cannot be opened", path);
    cr_assert(fscanf(file, "#%*[^\n]") == 0); /* the comment */
    for (;;) {
        cr_assert(fscanf(file, "%31s", word) == 1, "%s ends without 'end'", path);
        if (strcmp(word, "end") == 0) break;
        if (strcmp(word, "input") == 0) {
            golden_read_input(file, &in);
            continue;
        }
        cr_assert(strcmp(word, "case") == 0, "'%s' where a case belongs", word);
        golden_read_case(file, in.n, &c);
        visit(&in, &c);
        n_cases++;
    }
    fclose(file);
    return n_cases;
}

/* got, a sum of n terms, against autograd's: bit for bit where every term is a few-bit number, else as exactly as the
 * order of summation lets it be. */
static inline void golden_check_d_alpha(const golden_input *in, const golden_case *c, double got)
{
    const int few_bits = c->rule == DT_RULE_ECE284 || c->rule == DT_RULE_PACT;
    const double bound = few_bits ? 0.0 : (double)c->size / (1 << 22);
    const double error = (few_bits ? (double)c->d_alpha : (double)c->exact) - got;
    cr_assert(error <= bound && error >= -bound, "%s, %d bits, rule %d, alpha %g: d_alpha is %.9g, golden %.9g",
              in->name, c->bits, (int)c->rule, (double)c->alpha, got, (double)c->d_alpha);
}

#endif /* GOLDEN_H */
