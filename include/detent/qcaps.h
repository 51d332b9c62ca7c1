/*
 * qcaps.h - Q-CapsNets: a search for few bits for capsule networks.
 *
 * Source: Marchisio et al., "Q-CapsNets", DAC 2020. quant/qcaps/qcaps_search.c has the steps of the search.
 */
#ifndef DT_PUBLIC_QCAPS_H
#define DT_PUBLIC_QCAPS_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a real value is rounded: to the nearest code, half to even; down, or up with the fraction as probability; down;
 * to the nearest power of two. core/arith/fixed_point.h has the formulas. */
typedef enum { DT_ROUND_NEAREST, DT_ROUND_STOCHASTIC, DT_ROUND_TRUNCATION, DT_ROUND_LOGARITHMIC } dt_rounding;

/* The most layers, as Q-CapsNets counts them. */
enum { DT_QCAPS_LAYERS = 8 };

/* A layer as Q-CapsNets counts them; a block of DeepCaps is one layer. */
typedef struct {
    char name[DT_NAME_MAX + 1];
    int64_t n_weights;     /* values of filters, biases, batch norm's gamma and beta */
    int64_t n_activations; /* values of its outputs for one image */
    int routes;            /* iterations of dynamic routing; 0: it does not route, and has no routing bits */
} dt_qcaps_layer;

typedef struct {
    int n_layers;
    int64_t n_input; /* values of the image, which has the first layer's activation bits */
    dt_qcaps_layer layer[DT_QCAPS_LAYERS];
} dt_qcaps_shape;

/* Bits of each layer: word lengths, sign included; published: fractional bits. */
typedef struct {
    int weight[DT_QCAPS_LAYERS], activation[DT_QCAPS_LAYERS];
    int routing[DT_QCAPS_LAYERS]; /* 0 where the layer does not route */
} dt_qcaps_bits;

typedef struct {
    dt_rounding rounding;
    float accuracy_tolerance; /* % of the full accuracy that may be lost: 0.2 lets 99.50 % fall to 99.301 % */
    float memory_budget;      /* for the weights, MiB; published: MB of 8,000,000 bits */
    int published;            /* 1: what the published code does, with its errors; 0: corrected */
    int64_t cache_bytes;      /* device memory for activations that are kept between trials */
    int batch;
} dt_qcaps_options;

/* What the bits cost. */
typedef struct {
    double memory_mib;           /* of the weights; published: with an integer bit for each */
    double weight_reduction;     /* 32 bits for each weight, divided by the bits that they have */
    double activation_reduction; /* the same for activations and image, without votes and routing */
} dt_qcaps_cost;

/* One evaluation of the search. */
typedef struct {
    const char *step; /* of the search: "1", "2", "3A", "4A", "3B" */
    int trial;        /* number of the trial, from 1 */
    dt_qcaps_bits bits;
    double accuracy; /* % */
} dt_qcaps_trial;

/* Bits that the search found. */
typedef struct {
    int present; /* 1: the search has this outcome; 0: the other members mean nothing */
    dt_qcaps_bits bits;
    double accuracy; /* %, on the dataset of the search */
} dt_qcaps_outcome;

/* The search has either the outcome `satisfied`, or `memory` and, if there is one, `accuracy`. */
typedef struct {
    double full_accuracy, min_accuracy; /* % */
    int uniform_bits;                   /* the bits that step 1 found */
    int n_trials;
    dt_qcaps_outcome satisfied; /* meets tolerance and budget */
    dt_qcaps_outcome memory;    /* meets the budget */
    dt_qcaps_outcome accuracy;  /* meets the tolerance */
} dt_qcaps_result;

/* Functions of the caller that the search calls. */
typedef struct {
    /* Is called after each trial. A result other than 0 stops the search with DT_ERR_INTERRUPTED. */
    int (*trial)(void *user, const dt_qcaps_trial *t);
    /* Is asked before trial number `trial` is measured; may be NULL. Returns 1 and sets *accuracy (%) if a trial with
     * these bits has been measured before, in this search or in one that was stopped. */
    int (*known)(void *user, int trial, const dt_qcaps_bits *bits, double *accuracy);
    dt_progress images; /* for each evaluation; tick may be NULL */
    void *user;
} dt_qcaps_watch;

/* Sets nearest, 0.2 %, 200 MiB, corrected, 1 GiB of cache and batches of 100 images. */
DT_API void dt_qcaps_options_default(dt_qcaps_options *out);
/* Describes the layers of m. DT_ERR_UNSUPPORTED: the network has no capsules. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_describe(const dt_model *m, dt_qcaps_shape *out);
/* Does step 2 alone: sets the weight bits that the budget allots, and `uniform` bits for activations and routing. It
 * goes by sizes and needs no parameters. DT_ERR_ARGUMENT: the budget is less than one bit a weight takes; the message
 * has both. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_allot(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, int uniform,
                                              dt_qcaps_bits *out);
/* Computes what bits cost. */
DT_API void dt_qcaps_cost_of(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, const dt_qcaps_bits *bits,
                             dt_qcaps_cost *out);
/* Runs the search: steps 1 and 2, then 3A and 4A, or 3B. Accuracies are those on d. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_search(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt,
                                               const dt_qcaps_watch *watch, dt_qcaps_result *out);
/* Makes a copy of m that rounds to these bits, with scales calibrated on d. It is for evaluation, and m may be
 * destroyed afterwards. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_quantize(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt,
                                                 const dt_qcaps_bits *bits, dt_model **out);

/* The formats of a model that dt_qcaps_quantize made. */
typedef struct {
    dt_rounding rounding;
    int published;
    dt_qcaps_bits bits;
    int n_tensors; /* tensors that are rounded */
} dt_qcaps_formats;

/* The format of one tensor that is rounded. */
typedef struct {
    const char *name; /* a parameter's, or such as "digit.votes", "digit.s2": weighted sums of the second iteration */
    int layer;        /* index in dt_qcaps_shape.layer */
    int is_weight;
    int bits;
    float scale; /* largest magnitude; published: not used */
    float step;  /* between two codes: scale / 2^(bits-1); published: 2^-bits; 0 with logarithmic rounding */
} dt_qcaps_tensor;

/* Fills out and returns 1 if m has fixed-point formats; else returns 0. */
DT_API int dt_qcaps_look(const dt_model *m, dt_qcaps_formats *out);
/* Describes tensor i, 0 <= i < n_tensors, of a model that has fixed-point formats. */
DT_API void dt_qcaps_look_at(const dt_model *m, int i, dt_qcaps_tensor *out);

/* The words of the enumerations above, in the order of their constants, NULL at the end. */
DT_API extern const char *const dt_rounding_names[5];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_QCAPS_H */
