/*
 * capsules.h - the pieces that capsule networks share: routing, class capsules, decoders, the loss.
 *
 * A map of capsules is an N,H,W,C tensor whose C is types x dim. Names of parameters are those of the Q-CapsNets
 * code's PyTorch modules.
 */
#ifndef DT_CAPSULES_H
#define DT_CAPSULES_H

#include "blocks.h"

/* x of a batch, where m records with or without formats. */
dt_recorder dt_caps_recorder(dt_model *m, dt_tape *tape, dt_tensor *x, int training);

/* r->layer ends with x, which is all that later layers read, and the next begins. */
void dt_caps_layer_end(dt_recorder *r, const dt_tensor *x);
/* r->layer is not to be recorded: formats->first_layer lies behind it. */
int dt_caps_skips(const dt_recorder *r);

/* The image, rounded with the first layer's activations; the published code leaves it as it is. */
DT_MUST_CHECK dt_status dt_caps_image(dt_recorder *r, dt_tensor *x, const dt_reader *reader, dt_tensor **y);

/* How votes are routed to a map of `dim`-dimensional capsules. */
typedef struct {
    int inputs; /* capsules (types) that vote */
    int dim;
    int joint; /* softmax over the whole output map */
    int iterations;
    dt_start bias; /* name.bias, of all values of one position */
} dt_caps_routing;

/* name.bias; with formats votes, coupling, sums, capsules and logits are rounded: name.votes, name.c1, name.s1, ... */
DT_MUST_CHECK dt_status dt_caps_route(dt_recorder *r, const char *name, dt_tensor *votes, const dt_caps_routing *how,
                                      dt_tensor **v);

/* x N,H,W,C of types of `dim` -> N,(types H W),dim: capsule (type H + h) W + w. */
DT_MUST_CHECK dt_status dt_caps_list(dt_recorder *r, const char *name, dt_tensor *x, int dim, dt_tensor **y);

/* name.weight I,A,(classes dim), name.bias: votes of x N,I,A, routed by agreement -> N,(classes dim). */
DT_MUST_CHECK dt_status dt_caps_classes(dt_recorder *r, const char *name, dt_tensor *x, dt_tensor **v);

/* dt_network.record_loss: lengths are the logits; the margin loss; in training, and with a decoder, the squared error
 * of the image that the true class's capsule makes. */
DT_MUST_CHECK dt_status dt_caps_record_loss(dt_model *m, dt_tape *tape, const dt_record_spec *spec, dt_tensor *x,
                                            dt_tensor *y, dt_tensor *labels, dt_tensor **logits, dt_tensor **loss);

/* dt_network.record_decoder: config.decoder, as trained. */
DT_MUST_CHECK dt_status dt_caps_record_decoder(dt_model *m, dt_tape *tape, dt_tensor *v, dt_tensor **image);

/* The same for a recorder of one's own; "decoder." stands before its parameters' names. */
DT_MUST_CHECK dt_status dt_decoder_record(dt_recorder *r, dt_tensor *v, dt_tensor **image);
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
