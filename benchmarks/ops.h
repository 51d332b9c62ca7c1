/*
 * ops.h - the parts of bench_ops: what a node must at least move and compute, whether its result is right, what the
 *         machine can do, and how long each node takes.
 *
 * A node's ceiling is the time that its bytes and its operations take at the rates measured in the same run:
 *   ceiling = max(bytes / bandwidth(bytes), operations / peak of their type),  share = ceiling / time
 * bytes counts every tensor that the pass reads or writes once, in the type it is stored in. bandwidth(bytes) is that
 * of a copy, or of reading, whichever is faster, over as many bytes: what fits in a cache may be as fast as the cache.
 */
#ifndef DT_BENCH_OPS_H
#define DT_BENCH_OPS_H

#include "../core/train/trainer.h"
#include "bench.h"

typedef enum { OPS_FORWARD, OPS_BACKWARD, OPS_UPDATE, OPS_PASSES } ops_pass;
typedef enum { OPS_F32, OPS_HALF, OPS_INT8, OPS_UNITS } ops_unit; /* types that products are taken in */

extern const char *const ops_pass_names[OPS_PASSES + 1];
extern const char *const ops_unit_names[OPS_UNITS + 1]; /* "f32", "16-bit", "int8" */

typedef struct {
    double bytes, flop; /* 2 a multiply-accumulate; products with padding do not count */
    ops_unit unit;
} ops_cost;

/* ops_model.c */
ops_cost ops_cost_of(const dt_node *node, ops_pass pass, const dt_context *ctx);
ops_cost ops_cost_of_update(const dt_update *u);
void ops_cost_add(ops_cost *sum, ops_cost more); /* of nodes that one call runs */

enum { OPS_SIZES = 6 };

/* Rates of this machine: bytes/ms and operations/ms. */
typedef struct {
    double bytes[OPS_SIZES]; /* rising: moved by one copy, read and written */
    double copy[OPS_SIZES], read[OPS_SIZES];
    double peak[OPS_UNITS]; /* 0: not measured here */
    double launch_ms;       /* of the smallest kernel in a replayed graph; 0 on a CPU */
} ops_ceilings;

/* ops_ceiling.c; reading is measured on a CPU only */
DT_MUST_CHECK dt_status ops_ceilings_measure(dt_context *ctx, ops_ceilings *out);
double ops_ceiling_bandwidth(const ops_ceilings *c, double bytes);
double ops_ceiling_ms(const ops_ceilings *c, const ops_cost *cost, int *is_memory);

/* What a result was compared with, "" where there is no check; error is |found - wanted| / |wanted| over the values
 * looked at where they are sums of reals, else 0. */
typedef struct {
    const char *how;
    double error;
} ops_checked;

/* ops_check.c: compares what the node has just computed, at positions drawn from `draw`. DT_ERR_NUMERIC names the node
 * and both values. */
DT_MUST_CHECK dt_status ops_check(dt_context *ctx, const dt_node *node, ops_pass pass, uint64_t *draw,
                                  ops_checked *out);

enum { OPS_MOST_ROUNDS = 200 };

/* One line of the table: a node's pass, or that of several which one call runs. */
typedef struct {
    const char *op, *name; /* of the first node */
    ops_pass pass;
    int first, count; /* nodes of the tape; count 0: the update */
    ops_cost cost;
    ops_checked checked;
    double ms[OPS_MOST_ROUNDS];
    int n_ms;
} ops_row;

typedef struct {
    dt_trainer *trainer;
    ops_row *row;
    int n_rows;
    int *row_of[2]; /* [forward, backward][node]; -1: the pass does not run */
    uint64_t draw;
} ops_table;

/* ops_table.c. Runs one step, checks it, and lists what ran. On failure too, *out is to be destroyed. */
DT_MUST_CHECK dt_status ops_table_create(dt_trainer *t, ops_table *out);
void ops_table_destroy(ops_table *table);

/* ops_time.c. A CPU's nodes are timed within `rounds` steps. A device's are launched again and again in a graph
 * (--no-graph: from the host), since its kernels run behind the host's back; what fits in its cache stays there. */
DT_MUST_CHECK dt_status ops_time(ops_table *table, int rounds);
/* ms of `rounds` whole steps, each waited for. */
DT_MUST_CHECK dt_status ops_time_step(dt_trainer *t, double *ms, int rounds);
DT_MUST_CHECK dt_status ops_wait(dt_context *ctx);
/* ms of one of `n` runs of call, which a graph holds where there can be one. */
DT_MUST_CHECK dt_status ops_time_calls(dt_context *ctx, dt_status (*call)(void *user), void *user, int n, int rounds,
                                       double *ms);

#endif /* DT_BENCH_OPS_H */
