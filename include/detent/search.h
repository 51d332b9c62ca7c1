/*
 * search.h - which bits the layers of a network may have: the space of a mixed-precision search, the size of a network
 *            of that space, its score, and the choice of the next trial.
 *
 * Nothing here trains. A caller trains the network of each trial, and tells what it reached; `detent search` does so.
 */
#ifndef DT_PUBLIC_SEARCH_H
#define DT_PUBLIC_SEARCH_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a choice is of. The first three are bits. FILTERS are per cent of a layer's filters. RATE is a step, from 0, on
 * the way from the least to the largest learning rate. */
typedef enum {
    DT_CHOICE_KERNEL,
    DT_CHOICE_BIAS,
    DT_CHOICE_ACTIVATION,
    DT_CHOICE_FILTERS,
    DT_CHOICE_RATE
} dt_choice_role;

enum {
    DT_CHOICE_BITS = 3,       /* roles that are bits */
    DT_CANDIDATES_MOST = 16,  /* candidates of a choice */
    DT_SEARCH_CHOICES = 1024, /* choices of a space */
    DT_SEARCH_REAL = -1       /* as the index of a candidate: the numbers stay real */
};

/* Values that a choice may have. The first is the default. */
typedef struct {
    int value[DT_CANDIDATES_MOST];
    int n;
} dt_candidates;

/* What some rows of the network may have. */
typedef struct {
    /* an operator: "conv", "depthwise", "linear", "caps_votes" or "activation", or its name in Keras, such as "Conv2D";
     * or a pattern (fnmatch) of rows' names. All rows that a pattern fits share one choice of each role; rows of an
     * operator have choices of their own */
    const char *of;
    int most[DT_CHOICE_BITS];           /* the most bits of each role; 0: none, `list` says which */
    dt_candidates list[DT_CHOICE_BITS]; /* n 0: all that the search has */
} dt_search_limit;

/* What a search chooses. */
typedef struct {
    /* QKERAS: each value that is quantized has a quantizer of its own (2..16 bits). The other rules have one before
     * each layer (2..8 bits), and none of biases. AFFINE has one number of bits, and is refused */
    dt_quant_rule rule;
    dt_candidates bits[DT_CHOICE_BITS]; /* n 0: of this role nothing is chosen, and it is counted as in the reference */
    const dt_search_limit *limit; /* [n_limits], the first that fits a row counts; a row that none fits stays real.
                                     No limits: each row has all candidates */
    int n_limits;
    const int *row; /* [n_rows] the rows that may be quantized; NULL: all */
    int n_rows;
    int input_bits;           /* of an image that has a quantizer with fixed bits; 0: it is chosen as others */
    dt_candidates filters;    /* per cent of a layer's filters; n 0: they are not chosen. Scores keep their number */
    int filters_together;     /* 1: one choice for all layers; 0: one for each */
    const char *const *whole; /* [n_whole] patterns of layers that keep their filters */
    int n_whole;
    int rates; /* steps of the learning rate, 2..16; 0: it is not chosen */
} dt_search_what;

/* A choice of the space. */
typedef struct {
    char *name; /* such as "conv1_kernel_quantizer"; owned by the space */
    dt_choice_role role;
    dt_candidates candidates;
} dt_search_choice;

/* An operator of the network, or a quantizer. */
typedef struct {
    const char *name, *op;         /* owned by the space */
    int64_t n[DT_CHOICE_BITS];     /* numbers with the bits of each role: weights, biases, values that are quantized */
    int choice[DT_CHOICE_BITS];    /* index of the choice; -1: there is none */
    int bits;                      /* of its values, if there is no choice: those of the image; 0: others */
    int is_output;                 /* 1: the softmax of the scores */
    int64_t macs, n_inputs, terms; /* of a layer: products for an image, values read, products in a sum */
    int64_t n_outputs;             /* values for one image */
    int reads;                     /* row of the quantizer of what it reads; -1: none */
    int filters;                   /* index of the choice of its filters; -1: they stay */
} dt_search_row;

/* The space of a search. Anyone may read the members. */
typedef struct {
    dt_search_row *row; /* [n_rows] in the order of the network */
    int n_rows;
    dt_search_choice *choice; /* [n_choices] kernels first; FILTERS and RATE at the end */
    int n_choices;
} dt_search_space;

/* Makes the space of a network of reals. DT_ERR_ARGUMENT: a limit fits nothing or leaves no candidate, or bits are out
 * of their range. DT_ERR_UNSUPPORTED: the network has quantizers already. dt_search_space_destroy frees *out. */
DT_API DT_MUST_CHECK dt_status dt_search_space_create(const dt_graph *network, const dt_search_what *what,
                                                      dt_search_space **out);
DT_API void dt_search_space_destroy(dt_search_space *s);
/* Returns how many choices have several candidates. */
DT_API int dt_search_dimensions(const dt_search_space *s);
/* Returns the number of configurations, the product of the numbers of candidates. */
DT_API double dt_search_configurations(const dt_search_space *s);

/* Makes the network of a configuration: a copy of the network of reals whose layers have as many filters as the
 * configuration says; its parameters have their first values. Without choices of FILTERS it is a plain copy.
 * DT_ERR_SHAPE: layers whose sums are added have different numbers of filters. */
DT_API DT_MUST_CHECK dt_status dt_search_network(const dt_graph *network, const dt_search_space *s,
                                                 const int *configuration, dt_graph **out);

/* What the size of a network is: bits of its numbers; energy of an image, in pJ; products times the bits of both
 * factors. */
typedef enum { DT_SIZE_BITS, DT_SIZE_ENERGY, DT_SIZE_BOPS } dt_size_kind;

/* How sizes and scores are computed. quant/search/size.c has the formulas. */
typedef struct {
    dt_size_kind kind;
    double delta_p, delta_n; /* per cent of the metric that a factor of `rate` in size is worth, below and above the
                                reference */
    double rate, stress;     /* above 1; the reference counts `stress` times */
    int ref_bits;            /* of each real weight and value */
    int ref_bias_bits;       /* of each real bias */
    int input_bits, output_bits;
    int count_input;             /* 1: the image counts, in the reference too */
    int parameters, activations; /* BITS: 1: they count */
    double least_memory;         /* ENERGY: bits that the smallest memory has */
} dt_search_goal;

/* Sets bits, 5, 5, 2, 1, 16 and 31 bits of reals, 8 and 8 of input and output, without the image. */
DT_API void dt_search_goal_default(dt_search_goal *out);

/* A size and its parts; those of BOPS have no activations. */
typedef struct {
    double parameters, activations, total;
} dt_search_size;

/* Computes the size of a configuration, [n_choices] indices of candidates or DT_SEARCH_REAL; NULL: of the reference, in
 * which all is real. rows: [n_rows] for the size of each row, or NULL. */
DT_API void dt_search_size_of(const dt_search_space *s, const dt_search_goal *goal, const int *configuration,
                              dt_search_size *out, double *rows);
/* Returns the share of the metric by which a size is better than the reference's. */
DT_API double dt_search_delta(const dt_search_goal *goal, double reference, double size);
/* Returns metric * (1 + delta). */
DT_API double dt_search_score(const dt_search_goal *goal, double reference, double size, double metric);

/* How the next trial is chosen. GREEDY begins with the last candidate of each choice, which is meant to be the most
 * bits, and takes one candidate less of one choice at a time. */
typedef enum { DT_TUNER_RANDOM, DT_TUNER_TPE, DT_TUNER_GP, DT_TUNER_GREEDY } dt_tuner_mode;

/* A trial that has been chosen, and what came of it. */
typedef struct {
    const int *configuration; /* [n_choices] */
    double score;             /* the larger the better; NaN: it is not known yet, or the trial failed */
} dt_search_trial;

enum { DT_SEARCH_OPEN = -2 };

typedef struct {
    dt_tuner_mode mode;
    uint64_t seed;
    int n_first;       /* TPE, GP: trials that are drawn before the results count; 0: 10 and 5 */
    const int *order;  /* GREEDY: [n_choices] indices of choices, the first to be lowered first; NULL: as they stand */
    const int *frozen; /* [n_choices] candidates that are not chosen any more, or DT_SEARCH_REAL, or DT_SEARCH_OPEN;
                          NULL: all are open */
} dt_tuner;

/* Chooses the configuration of trial n, [n_choices], from the trials 0 .. n - 1. It depends on these and on the seed
 * alone. Sets *is_new to 0 and chooses nothing if no configuration is left that the trials have not had; of GREEDY
 * also if no step down is left that has not been tried. */
DT_API DT_MUST_CHECK dt_status dt_tuner_next(const dt_search_space *s, const dt_tuner *t, const dt_search_trial *trials,
                                             int n, int *configuration, int *is_new);

DT_API extern const char *const dt_size_kind_names[4];
DT_API extern const char *const dt_tuner_mode_names[5];
DT_API extern const char *const dt_choice_role_names[6];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_SEARCH_H */
