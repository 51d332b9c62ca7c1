/*
 * ops.h - the parts of bench_ops: the least bytes and operations of a node, the check of its result, the rates of the
 *         machine, and the time that each node takes.
 *
 * A node's ceiling is the time that its bytes and its operations take at the rates measured in the same run:
 *   ceiling = max(bytes / bandwidth(bytes), operations / peak of their type),  share = ceiling / time
 *
 * bytes counts every tensor that the pass reads or writes once, in the type in which it is stored. bandwidth(bytes) is
 * that of a copy or of reading over as many bytes, whichever is faster. So data that fit in a cache may be as fast as
 * the cache.
 */
#ifndef DT_BENCH_OPS_H
#define DT_BENCH_OPS_H

#include "../core/train/trainer.h"
#include "bench.h"

typedef enum { OPS_FORWARD, OPS_BACKWARD, OPS_UPDATE, OPS_PASSES } ops_pass;
typedef enum { OPS_F32, OPS_HALF, OPS_INT8, OPS_UNITS } ops_unit; /* types of the operands of products */

extern const char *const ops_pass_names[OPS_PASSES + 1];
extern const char *const ops_unit_names[OPS_UNITS + 1]; /* "f32", "16-bit", "int8" */

typedef struct {
    double bytes, flop; /* 2 a multiply-accumulate; products with padding do not count */
    ops_unit unit;
} ops_cost;

/* Returns the least bytes and operations of a pass of a node. In ops_model.c. */
ops_cost ops_cost_of(const dt_node *node, ops_pass pass, const dt_context *ctx);
/* Returns those of an update. In ops_model.c. */
ops_cost ops_cost_of_update(const dt_update *u);
/* Adds the cost of one more node that the same call runs. In ops_model.c. */
void ops_cost_add(ops_cost *sum, ops_cost more);

enum { OPS_SIZES = 6 };

/* Rates of this machine: bytes/ms and operations/ms. */
typedef struct {
    double bytes[OPS_SIZES]; /* ascending: bytes that one copy reads and writes together */
    double copy[OPS_SIZES], read[OPS_SIZES];
    double peak[OPS_UNITS]; /* 0: not measured here */
    double launch_ms;       /* of the smallest kernel in a replayed graph; 0 on a CPU */
} ops_ceilings;

/* Measures the rates of the machine. Reading is measured on a CPU alone. In ops_ceiling.c. */
DT_MUST_CHECK dt_status ops_ceilings_measure(dt_context *ctx, ops_ceilings *out);
/* Returns the ceiling in ms, and sets *is_memory to 1 if bytes decide and to 0 if operations do. In ops_ceiling.c. */
double ops_ceiling_ms(const ops_ceilings *c, const ops_cost *cost, int *is_memory);

/* The result of a check: what the values were compared with, or "" if there is no check; and |found - wanted| /
 * |wanted| over the compared values if they are sums of reals, else 0. */
typedef struct {
    const char *how;
    double error;
} ops_checked;

/* Checks what a node has just computed, at positions drawn from *draw. DT_ERR_NUMERIC names the node and both values.
 * In ops_check.c. */
DT_MUST_CHECK dt_status ops_check(dt_context *ctx, const dt_node *node, ops_pass pass, uint64_t *draw,
                                  ops_checked *out);

enum { OPS_MOST_ROUNDS = 200 };

/* A line of the table: a pass of one node, or of several nodes that one call runs. */
typedef struct {
    const char *op, *name; /* of the first node */
    ops_pass pass;
    int first, count; /* nodes first .. first + count - 1 of the tape; count 0: the update */
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

/* Runs one step, checks it, and lists what ran. Destroy *out even if this fails. In ops_table.c. */
DT_MUST_CHECK dt_status ops_table_create(dt_trainer *t, ops_table *out);
void ops_table_destroy(ops_table *table);

/* Times every row `rounds` times. On a CPU, nodes are timed within whole steps. On a device, whose kernels run while
 * the host goes on, each row is launched again and again in a graph (--no-graph: from the host), so that data that fit
 * in its cache stay there. In ops_time.c, as the functions below. */
DT_MUST_CHECK dt_status ops_time(ops_table *table, int rounds);
/* Times `rounds` whole steps, in ms, and waits for each. */
DT_MUST_CHECK dt_status ops_time_step(dt_trainer *t, double *ms, int rounds);
/* Times `rounds` times n runs of call, from a graph where there can be one, and sets ms to the time of one run. */
DT_MUST_CHECK dt_status ops_time_calls(dt_context *ctx, dt_status (*call)(void *user), void *user, int n, int rounds,
                                       double *ms);

#endif /* DT_BENCH_OPS_H */
