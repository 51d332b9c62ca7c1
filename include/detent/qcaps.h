/*
 * qcaps.h - Q-CapsNets: few bits for capsule networks.
 */
#ifndef DT_PUBLIC_QCAPS_H
#define DT_PUBLIC_QCAPS_H

#include "evaluate.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a real value becomes a code: nearest (half to even), stochastic (up with the fraction as probability), down, or
 * to the nearest power of two. */
typedef enum { DT_ROUND_NEAREST, DT_ROUND_STOCHASTIC, DT_ROUND_TRUNCATION, DT_ROUND_LOGARITHMIC } dt_rounding;

enum { DT_QCAPS_LAYERS = 8 };

/* A layer as Q-CapsNets counts them: a child of the network (a block of DeepCaps is one). */
typedef struct {
    char name[DT_NAME_MAX + 1];
    int64_t n_weights;     /* filters, biases, batch norm's gamma and beta */
    int64_t n_activations; /* outputs for one image; the image itself is counted by dt_qcaps_shape */
    int routes;            /* iterations of dynamic routing; where it has any, it has bits for it */
} dt_qcaps_layer;

typedef struct {
    int n_layers;
    int64_t n_input; /* values of the image, which get the first layer's activation bits */
    dt_qcaps_layer layer[DT_QCAPS_LAYERS];
} dt_qcaps_shape;

/* Word lengths of each layer, sign included (published: fractional bits). */
typedef struct {
    int weight[DT_QCAPS_LAYERS], activation[DT_QCAPS_LAYERS];
    int routing[DT_QCAPS_LAYERS]; /* 0 where the layer does not route */
} dt_qcaps_bits;

typedef struct {
    dt_rounding rounding;
    float accuracy_tolerance; /* %, of the accuracy itself: 0.2 lets 99.50 fall to 99.301 */
    float memory_budget;      /* MiB of weights; published: MB of 8,000,000 bits */
    int published;            /* 1: the published code, quirks and all; 0: corrected */
    int64_t cache_bytes;      /* of activations kept between trials */
    int batch;
} dt_qcaps_options;

/* What the bits cost. */
typedef struct {
    double memory_mib;           /* of the weights; published: with an integer bit for each */
    double weight_reduction;     /* against 32 bits */
    double activation_reduction; /* against 32 bits, image counted, votes and routing not */
} dt_qcaps_cost;

/* One evaluation of the search. */
typedef struct {
    const char *step; /* "1", "2", "3A", "4A", "3B" */
    int trial;        /* 1, 2, ... */
    dt_qcaps_bits bits;
    double accuracy; /* % */
} dt_qcaps_trial;

typedef struct {
    int present;
    dt_qcaps_bits bits;
    double accuracy; /* %, on the images that decided */
} dt_qcaps_outcome;

typedef struct {
    double full_accuracy, min_accuracy; /* % */
    int uniform_bits;                   /* step 1's */
    int n_trials;
    dt_qcaps_outcome satisfied; /* meets tolerance and budget; else: */
    dt_qcaps_outcome memory;    /* meets the budget */
    dt_qcaps_outcome accuracy;  /* meets the tolerance */
} dt_qcaps_result;

/* Non-zero stops the search with DT_ERR_INTERRUPTED. */
typedef struct {
    int (*trial)(void *user, const dt_qcaps_trial *t);
    dt_progress images; /* of the evaluation that runs; tick may be NULL */
    void *user;
} dt_qcaps_watch;

DT_API void dt_qcaps_options_default(dt_qcaps_options *out); /* nearest, 0.2 %, 200 MiB, corrected, 1 GiB, 100 images */
/* DT_ERR_UNSUPPORTED if the network has no capsules. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_describe(const dt_model *m, dt_qcaps_shape *out);
/* Step 2 alone: the weight bits that the budget allots; activations and routing get `uniform` bits. Needs no
 * parameters, only sizes. DT_ERR_ARGUMENT if the budget is below what one bit a weight takes, naming both. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_allot(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, int uniform,
                                              dt_qcaps_bits *out);
DT_API void dt_qcaps_cost_of(const dt_qcaps_shape *shape, const dt_qcaps_options *opt, const dt_qcaps_bits *bits,
                             dt_qcaps_cost *out);
/* Steps 1, 2, then 3A and 4A, or 3B. d decides. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_search(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt,
                                               const dt_qcaps_watch *watch, dt_qcaps_result *out);
/* m with those bits, as a model for dt_evaluate, with scales calibrated on d. It borrows nothing of m. */
DT_API DT_MUST_CHECK dt_status dt_qcaps_quantize(dt_model *m, const dt_dataset *d, const dt_qcaps_options *opt,
                                                 const dt_qcaps_bits *bits, dt_model **out);

/* What dt_qcaps_quantize chose, or a file holds. */
typedef struct {
    dt_rounding rounding;
    int published;
    dt_qcaps_bits bits;
    int n_tensors;
} dt_qcaps_formats;

typedef struct {
    const char *name; /* a parameter's, or "digit.votes", "digit.s2": the weighted sums of the second iteration */
    int layer;        /* of dt_qcaps_shape */
    int is_weight;
    int bits;
    float scale; /* the largest magnitude; published: not used */
    float step;  /* codes are in steps of scale / 2^(bits-1); 0: powers of two, logarithmic rounding */
} dt_qcaps_tensor;

/* 0 if m does not record with fixed-point formats. */
DT_API int dt_qcaps_look(const dt_model *m, dt_qcaps_formats *out);
DT_API void dt_qcaps_look_at(const dt_model *m, int i, dt_qcaps_tensor *out); /* 0 <= i < n_tensors */

/* Words of the enumerations above, in their order, NULL at the end. */
DT_API extern const char *const dt_rounding_names[5];

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_QCAPS_H */
