/*
 * op_case.h - table-driven test of one operator. A case is a row with a reason, and an oracle in double has its truth.
 *
 * op_case_run runs a case on every backend that opens (the CPU always; CUDA where there is a GPU or the SIMT shim):
 *   - forward against the oracle; forward must overwrite, so its output starts as NaN;
 *   - backward of every differentiable input against central differences of the oracle, never of the kernel;
 *   - backward must add, so every gradient starts at 0.5;
 *   - where a kernel writes fresh gradients instead, they start as NaN and must come out as what was added;
 *   - one, two and three CPU threads must give equal bits, forward and backward;
 *   - where `agree` says so, CUDA's output must equal the CPU's with ==;
 *   - memory before and behind a tensor or the scratch must stay as it is, and so must the inputs that are no state;
 *   - scratch is NaN when forward and backward begin.
 * test_op_case.c reports whether CUDA was among the backends, and tests that kernels which break one of these are
 * refused.
 */
#ifndef OP_CASE_H
#define OP_CASE_H

#include "../../core/context.h"
#include "../../core/conv_params.h"
#include "../../core/op.h"

/* How an input is filled. A value depends on the input's number and the element's alone. `size` is op_input.size. */
typedef enum {
    FILL_REAL,     /* between -size and size (0: 1) */
    FILL_POSITIVE, /* between size / 2 and 3 size / 2 (0: 1) */
    FILL_ZERO,
    FILL_INTEGER,  /* -size..size (0: 7), equal values likely */
    FILL_COUNT,    /* 0..size (0: 15), equal values likely: unsigned codes, labels */
    FILL_DISTINCT, /* integers, all different, none 0, both signs: no kinks, no ties */
    FILL_SIGN,     /* 1 or -1 */
    FILL_ASCENDING /* T,C: integers from -size (0: 7) up to size along the first axis, equal ones likely; of every 5
                    * columns one begins with -INFINITY, one ends with INFINITY, one is all of either */
} op_fill;

typedef struct {
    dt_shape shape;
    op_fill fill;
    float size;
    float scale;        /* above 0: a grid tensor whose values are codes; 0: real */
    int n_scale;        /* scales of a grid tensor: 0 or 1: one; else n_scale, of scale * (1 + index / 8) each */
    int scale_of_first; /* 1: input 0's scale is this one's too, in the same memory, as if one quantizer had made both
                         */
    int scale_form;     /* dt_tensor.scale_form of a grid tensor */
    int scale_first;    /* 1: scales go along the first axis (filters); 0: along the last */
    dt_dtype type;      /* inputs of another type than DT_F32 get no gradient */
    int state;          /* 1: it has no gradient, and forward may change it (running statistics) */
} op_input;

typedef enum {
    AGREE_CLOSELY, /* each backend agrees with the oracle within the tolerance */
    AGREE_BITS,    /* and the backends agree with each other bit for bit */
    AGREE_INTEGERS /* and every value (or code) equals the oracle's integer */
} op_agreement;

typedef struct op_case op_case;
struct op_case {
    const char *why;
    dt_op_kind op;
    const void *params;
    int n_in;
    op_input in[DT_MAX_IN];
    int out_scale_first; /* 1: out's scales go along its first axis (filters); 0: along the last */
    op_agreement agree;
    dt_precision precision; /* of the context */
    dt_purpose purpose;     /* of the node */
    const char *no_slopes;  /* why central differences are not taken: "ties", "large" */
    double tolerance;       /* share of the largest value of the tensor; 0: OP_TOLERANCE */
    /* Computes out from the REAL values of the inputs: scale * code for a grid tensor. */
    void (*oracle)(const op_case *c, const double *const *in, double *out);
};

/* A sum of 100 terms in f32 errs by at most 100 * 2^-24 = 6e-6 of their magnitudes; gradients are such sums too. */
#define OP_TOLERANCE 6e-6

/* Initialises a dt_shape: OP_SHAPE(1, 2, 3) is 1x2x3. */
#define OP_SHAPE(...)                                                                               \
    {                                                                                               \
        .ndim = (int)(sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t)), .dim = { __VA_ARGS__ } \
    }

/* Runs a case, and fails the test if one of the above does not hold. */
void op_case_run(const op_case *c);
/* Runs n cases. */
void op_cases_run(const op_case *c, size_t n);

/* Kernels that take the place of the backends' own, unless they are NULL. The one for CUDA then runs on the CPU. */
typedef struct {
    const dt_kernel *cpu, *cuda;
} op_stand_ins;

enum { OP_FAULT_BYTES = 512 };

/* Returns 1 if all of the above holds. Else it returns 0, and fault, of OP_FAULT_BYTES, says after c->why what does not
 * hold first. It is for the test of this harness. */
int op_case_holds(const op_case *c, const op_stand_ins *instead, char *fault);

/* Fails the test unless infer refuses the case with this status and a message that contains `text`. */
void op_case_refused(const op_case *c, dt_status status, const char *text);

enum { OP_ROOMS = 3 * DT_MAX_IN + 4 }; /* data, grad and scale of each tensor, and aux */

/* Device memory of a rig. Nothing may be written to the DT_ALIGN bytes before it and behind it. */
typedef struct {
    char what[32];
    char *at;
    size_t bytes;
} op_room;

/* A case that is prepared on one backend, for tests of more than op_case_run does. All data are in device memory. */
typedef struct {
    dt_context *ctx;
    const dt_kernel *kernel;
    dt_exec ex;
    dt_node node;
    dt_tensor in[DT_MAX_IN], out;
    op_room room[OP_ROOMS];
    int n_rooms;
} op_rig;

/* Opens a rig: fills the inputs, infers and prepares. It returns 0 if the backend cannot be opened here; any other
 * failure fails the test. */
int op_rig_open(op_rig *rig, const char *backend, int threads, const op_case *c);
void op_rig_forward(op_rig *rig);
void op_rig_backward(op_rig *rig, const float *dy); /* dy: host memory, as many values as out; gradients start at 0.5 */
void op_rig_close(op_rig *rig);                     /* fails the test if memory beside a tensor was written */

/* Returns n gradients of no pattern, -1..1, which the caller frees. */
float *op_test_dy(int64_t n);

/* Fails the test unless the gradient of input 0 is that of the output, in every case on both backends. */
void op_cases_pass_gradients(const op_case *c, size_t n);

/* Copies count floats from the device to host memory, which the caller frees. */
float *op_rig_read(const op_rig *rig, const void *src, int64_t count);
double *op_rig_read_double(const op_rig *rig, const void *src, int64_t count);
void op_rig_write(const op_rig *rig, void *dst, const void *src, size_t bytes);

#endif /* OP_CASE_H */
