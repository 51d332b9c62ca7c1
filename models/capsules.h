/*
 * capsules.h - the pieces that capsule networks share: routing, class capsules, decoders, the loss.
 *
 * A map of capsules is an N,H,W,C tensor whose C is types x dim. Parameters have the names of the PyTorch modules in
 * the Q-CapsNets code.
 */
#ifndef DT_CAPSULES_H
#define DT_CAPSULES_H

#include "build.h"

#include "../quant/insert_route.h"

/* Options that every capsule network has, the first of its own; others of a network follow from DT_CAPS_OPTIONS on. */
enum { DT_CAPS_DIM, DT_CAPS_ROUTING, DT_CAPS_DECODER, DT_CAPS_ROUTING_BITS, DT_CAPS_OPTIONS };

/* clang-format off */
#define DT_CAPS_OPTION_ROWS(dim, first_decoder)                                                               \
    [DT_CAPS_DIM] = { "caps-dim", .unit = "N", .min = 1, .max = 64, .value = (dim),                           \
                      .about = "Capsule networks: values of a class capsule" },                               \
    [DT_CAPS_ROUTING] = { "routing-iterations", .unit = "N", .min = 1, .max = DT_MAX_ROUTING, .value = 3,     \
                          .about = "Capsule networks: iterations of routing by agreement" },                  \
    [DT_CAPS_DECODER] = { "decoder", .unit = "NAME", .words = dt_decoder_names, .max = DT_DECODER_CONV64,     \
                          .value = (first_decoder), .of_training = 1,                                         \
                          .about = "Capsule networks: what makes the image again from the true class's "      \
                                   "capsule, in training" },                                                  \
    [DT_CAPS_ROUTING_BITS] = { DT_ROUTING_BITS_OPTION, .unit = "BITS", .min = 0, .max = DT_ROUTING_BITS_MAX,  \
                               .label = "routing",                                                            \
                               .about = "Capsule networks: bits of capsules and logits in routing on the grid; " \
                                        "0: routing computes on reals" }
/* clang-format on */

/* What every capsule network has in its dt_network. */
#define DT_CAPS_NETWORK                                                                                      \
    .defaults = dt_caps_defaults, .has_capsules = 1, .resizes = 1, .train_defaults = dt_caps_train_defaults, \
    .for_input = dt_decoder_for_input, .for_dataset = dt_caps_for_dataset

/* How votes are routed to a map of capsules. */
typedef struct {
    int inputs; /* capsules (types) that vote */
    int dim;    /* values of an output capsule */
    int joint;  /* 1: the softmax spans the whole output map; 0: one position */
    int iterations;
    dt_start bias; /* of name.bias, which has a value for each channel of the votes */
} dt_caps_routing;

/* Adds a CAPS_ROUTE with the parameter name.bias. */
int dt_caps_route(dt_builder *b, const char *name, int votes, const dt_caps_routing *how);

/* Makes a list of capsules of a map x, N,H,W,(types dim): N,(types H W),dim. Capsule (type * H + h) * W + w of the list
 * is that of the type at (h, w). */
int dt_caps_list(dt_builder *b, const char *name, int x, int dim);

/* Adds the class capsules, N,(classes dim): the capsules x, N,I,A, vote by name.weight, I,A,(classes dim), and the
 * votes are routed with name.bias. They become the graph's capsules, and their lengths its scores. If the configuration
 * has a decoder, it is added for the capsule of the label. */
void dt_caps_classes(dt_builder *b, const char *name, int x);

/* Adds the configuration's decoder, which makes an image of the capsule v, N,caps-dim: N,H,W,C, or a shape with as many
 * values. The names of its parameters begin with "decoder.". */
int dt_decoder_build(dt_builder *b, int v);
/* DT_ERR_ARGUMENT if the decoder makes images of another size than c's. */
DT_MUST_CHECK dt_status dt_decoder_check(const dt_model_config *c);
/* Replaces a decoder with transposed convolutions by the one for images of c's size, or by FC if there is none. */
void dt_decoder_for_input(dt_model_config *c);

/* Checks what holds for every capsule network. DT_ERR_ARGUMENT names the option that it does not take. */
DT_MUST_CHECK dt_status dt_caps_check(const dt_model_config *c);
/* Sets what the configurations of all capsule networks share. */
void dt_caps_defaults(dt_model_config *out);
/* Sets the training of all capsule networks, which is that of the Q-CapsNets code. */
void dt_caps_train_defaults(dt_train_config *c);
/* Does the part of dt_config_for_dataset for capsule networks. */
void dt_caps_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train);

#endif /* DT_CAPSULES_H */
