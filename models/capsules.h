/*
 * capsules.h - the pieces that capsule networks share: routing, class capsules, decoders, the loss.
 *
 * A map of capsules is an N,H,W,C tensor whose C is types x dim. Names of parameters are those of the Q-CapsNets
 * code's PyTorch modules.
 */
#ifndef DT_CAPSULES_H
#define DT_CAPSULES_H

#include "build.h"

/* How votes are routed to a map of `dim`-dimensional capsules. */
typedef struct {
    int inputs; /* capsules (types) that vote */
    int dim;
    int joint; /* softmax over the whole output map */
    int iterations;
    dt_start bias; /* name.bias, of all values of one position */
} dt_caps_routing;

/* name.bias */
int dt_caps_route(dt_builder *b, const char *name, int votes, const dt_caps_routing *how);

/* x N,H,W,C of types of `dim` -> N,(types H W),dim: capsule (type H + h) W + w. */
int dt_caps_list(dt_builder *b, const char *name, int x, int dim);

/* name.weight I,A,(classes dim), name.bias: votes of x N,I,A, routed by agreement -> N,(classes dim). They become the
 * graph's capsules, their lengths its scores; and the configuration's decoder makes an image of the label's capsule. */
void dt_caps_classes(dt_builder *b, const char *name, int x);

/* v N,caps_dim -> the image, N,H,W,C or a shape of that count; "decoder." stands before its parameters' names. */
int dt_decoder_build(dt_builder *b, int v);
/* The decoder fits the images. */
DT_MUST_CHECK dt_status dt_decoder_check(const dt_model_config *c);
/* A decoder by transposed convolutions becomes the one for images of c's size, or fc where there is none. */
void dt_decoder_for_input(dt_model_config *c);

/* What every capsule network checks, and how it is trained if nobody says otherwise: as the Q-CapsNets code has it. */
DT_MUST_CHECK dt_status dt_caps_check(const dt_model_config *c);
void dt_caps_defaults(dt_model_config *out);
void dt_caps_train_defaults(dt_train_config *c);
void dt_caps_for_dataset(const char *dataset, dt_model_config *model, dt_train_config *train);

#endif /* DT_CAPSULES_H */
