/*
 * array_machine.c - see array_machine.h.
 *
 * Registers are updated in place, each after those that read it: from south to north, and from east to west. So each
 * takes what its neighbour held before the clock, as flip-flops do.
 *
 * Tests: tests/accel/test_array.c.
 */
#include "array_machine.h"

#include "../../core/declared.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* A processing element. The weight to the south may share its wires with the psum: ADD and FLUSH do not coincide. */
typedef struct {
    dt_operand weight;
    int lanes_free; /* that still take a weight */
    dt_partial own;
    dt_operand east, weight_south; /* registers at its edges */
    dt_partial south;
} element;

/* Shift registers: lane l has l + 1 of them, [l][0] takes what enters, [l][l] feeds the array. */
typedef struct {
    int lanes;
    dt_operand *stage; /* [lanes][lanes] */
} skew_fifo;

/* Oldest first. Column 0 is cols - 1 clocks early, so cols words are enough. */
typedef struct {
    dt_partial *word; /* [cols][cols] */
    int *n_words;     /* [cols] */
} column_fifo;

struct dt_machine {
    dt_array array;
    element *element; /* [rows][cols] */
    skew_fifo west, north;
    column_fifo column;
};

static int32_t fit(const dt_array *array, int64_t value)
{
    const int64_t half = (int64_t)1 << (array->psum_bits - 1);

    if (array->overflow == DT_OVERFLOW_WRAP) return (int32_t)(((value + half) & (2 * half - 1)) - half);
    return (int32_t)(value < -half ? -half : value >= half ? half - 1 : value);
}

dt_partial dt_partial_add(const dt_array *array, dt_partial to, dt_partial what)
{
    const int64_t sum = (int64_t)to.held + what.held;
    const int wraps = array->overflow == DT_OVERFLOW_WRAP;

    to.valid = 1;
    to.held = fit(array, sum);
    to.before = wraps ? to.before + what.before : sum;
    to.n_overflows += what.n_overflows;
    if (what.min < to.min) to.min = what.min;
    if (what.max > to.max) to.max = what.max;
    return to;
}

void dt_partial_look(const dt_array *array, dt_partial *p)
{
    if (p->before < p->min) p->min = (int32_t)p->before;
    if (p->before > p->max) p->max = (int32_t)p->before;
    p->n_overflows += fit(array, p->before) != p->before;
}

static const dt_partial nothing = { .min = INT32_MAX, .max = INT32_MIN };

static dt_partial multiply(const dt_operand *x, const dt_operand *w)
{
    const int product = x->code[0] * w->code[0] + x->code[1] * w->code[1];
    dt_partial p = nothing;

    p.held = product;
    p.before = product;
    return p;
}

static int real_products(const dt_operand *x, const dt_operand *w)
{
    const unsigned both = x->real & w->real;
    return (int)(both & 1u) + (int)(both >> 1);
}

/* The high lane comes first, as the course's 2-bit arrays load it. Returns 1 if e kept the weight. */
static int element_load(element *e, const dt_operand *weight)
{
    if (e->lanes_free == 0) return 0;
    const int lane = --e->lanes_free;
    e->weight.code[lane] = weight->code[0];
    e->weight.real |= (weight->real & 1u) << lane;
    return 1;
}

/* One clock of a PE; x and weight, psum: what its western and northern neighbours hold. Returns real products. */
static int element_clock(const dt_array *array, element *e, const dt_operand *x, const dt_operand *weight,
                         dt_partial psum)
{
    int products = 0;
    e->east = *x;
    e->weight_south = *weight;
    e->south.valid = 0;
    switch (x->instruction) {
    case DT_PE_IDLE: break;
    case DT_PE_LOAD:
        if (element_load(e, x)) e->east = (dt_operand){ .instruction = DT_PE_IDLE };
        break;
    case DT_PE_MULTIPLY:
        e->south = dt_partial_add(array, psum, multiply(x, &e->weight));
        if (e->weight.real && array->overflow == DT_OVERFLOW_SATURATE) dt_partial_look(array, &e->south);
        products = real_products(x, &e->weight);
        break;
    case DT_PE_ADD:
        e->own = dt_partial_add(array, e->own, multiply(x, weight));
        dt_partial_look(array, &e->own);
        products = real_products(x, weight);
        break;
    case DT_PE_FLUSH:
        e->south = e->own;
        e->south.valid = 1;
        e->own = psum;
        break;
    }
    return products;
}

static const dt_operand *skew_head(const skew_fifo *f, int lane)
{
    return &f->stage[lane * f->lanes + lane];
}

static void skew_clock(skew_fifo *f, const dt_operand *entering)
{
    for (int lane = 0; lane < f->lanes; lane++) {
        dt_operand *stage = f->stage + lane * f->lanes;
        for (int i = lane; i > 0; i--) stage[i] = stage[i - 1];
        stage[0] = entering[lane];
    }
}

static void column_push(dt_machine *m, int col, dt_partial psum)
{
    const int depth = m->array.cols;
    if (!psum.valid) return;
    assert(m->column.n_words[col] < depth);
    dt_declared_bits(psum.held, m->array.psum_bits, "array", "psum that leaves a column");
    m->column.word[col * depth + m->column.n_words[col]++] = psum;
}

int dt_machine_pop(dt_machine *m, dt_partial *psum)
{
    const int cols = m->array.cols;
    for (int c = 0; c < cols; c++) {
        if (m->column.n_words[c] == 0) return 0;
    }
    for (int c = 0; c < cols; c++) {
        dt_partial *word = m->column.word + c * cols;
        psum[c] = word[0];
        memmove(word, word + 1, (size_t)--m->column.n_words[c] * sizeof *word);
    }
    return 1;
}

dt_status dt_machine_create(const dt_array *array, dt_machine **out)
{
    const size_t rows = (size_t)array->rows, cols = (size_t)array->cols;
    dt_machine *m = calloc(1, sizeof *m);

    assert(array->simd == 1 || array->simd == DT_PE_LANES);
    DT_CHECK(m != NULL, DT_ERR_MEMORY, "no memory for an array of %dx%d", array->rows, array->cols);
    m->array = *array;
    m->element = calloc(rows * cols, sizeof *m->element);
    m->west = (skew_fifo){ array->rows, calloc(rows * rows, sizeof(dt_operand)) };
    m->north = (skew_fifo){ array->cols, calloc(cols * cols, sizeof(dt_operand)) };
    m->column = (column_fifo){ calloc(cols * cols, sizeof(dt_partial)), calloc(cols, sizeof(int)) };
    if (!m->element || !m->west.stage || !m->north.stage || !m->column.word || !m->column.n_words) {
        dt_machine_destroy(m);
        return dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "no memory for an array of %dx%d", array->rows, array->cols);
    }
    for (size_t i = 0; i < rows * cols; i++) m->element[i].own = nothing;
    *out = m;
    return DT_OK;
}

void dt_machine_destroy(dt_machine *m)
{
    if (!m) return;
    free(m->element);
    free(m->west.stage);
    free(m->north.stage);
    free(m->column.word);
    free(m->column.n_words);
    free(m);
}

void dt_machine_release_weights(dt_machine *m)
{
    for (int i = 0; i < m->array.rows * m->array.cols; i++) {
        m->element[i].weight = (dt_operand){ .real = 0 };
        m->element[i].lanes_free = m->array.simd;
    }
}

int64_t dt_machine_clock(dt_machine *m, const dt_operand *west, const dt_operand *north)
{
    const int rows = m->array.rows, cols = m->array.cols;
    int64_t products = 0;

    for (int c = 0; c < cols; c++) column_push(m, c, m->element[(rows - 1) * cols + c].south);
    for (int r = rows - 1; r >= 0; r--) {
        for (int c = cols - 1; c >= 0; c--) {
            element *e = &m->element[r * cols + c];
            const dt_operand *x = c > 0 ? &e[-1].east : skew_head(&m->west, r);
            const dt_operand *weight = r > 0 ? &e[-cols].weight_south : skew_head(&m->north, c);
            products += element_clock(&m->array, e, x, weight, r > 0 ? e[-cols].south : nothing);
        }
    }
    skew_clock(&m->west, west);
    skew_clock(&m->north, north);
    return products;
}
