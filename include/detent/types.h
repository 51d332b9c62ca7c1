/*
 * types.h - the objects of the library. Callers see pointers to them alone.
 */
#ifndef DT_PUBLIC_TYPES_H
#define DT_PUBLIC_TYPES_H

#include <stddef.h> /* size_t */
#include <stdint.h> /* int64_t */

#include "status.h" /* dt_status, DT_API, DT_MUST_CHECK */

/* Sizes of tensors and files are size_t, and may be more than 4 GiB. */
#if SIZE_MAX == 0xffffffff
#error "detent counts bytes in 64 bits: compile for a 64-bit machine"
#endif

#define DT_VERSION "0.1.0"

/* The most bytes of a name in a network (a layer's, a parameter's), without the NUL. */
enum { DT_NAME_MAX = 255 };

typedef struct dt_context dt_context; /* a device with its memory, threads and settings */
typedef struct dt_dataset dt_dataset; /* labelled 8-bit images in host memory */
typedef struct dt_graph dt_graph;     /* a network as data: its operators and the shapes of its parameters */
typedef struct dt_model dt_model;     /* a network with its parameters */
typedef struct dt_trainer dt_trainer; /* a training run: model, dataset, loss, optimiser, schedule and position */
typedef struct dt_program dt_program; /* a trained network as integers: what the hardware computes */
typedef struct dt_dist dt_dist;       /* this process as one of several that train together, with its links to them */

#endif /* DT_PUBLIC_TYPES_H */
