/*
 * program_checks.h - what the checks of a program's nodes share. program_check.c has those of most kinds, and
 *                    program_check_codes.c those of the operators that compute under a profile.
 */
#ifndef DT_PROGRAM_CHECKS_H
#define DT_PROGRAM_CHECKS_H

#include "program_build.h"

/* One node with what it reads and gives, for messages and checks. */
typedef struct {
    const dt_program *p;
    const dt_graph *g;
    const dt_graph_node *n;
    dt_value x, y;
    const char *name, *kind;
    const char *read; /* [n_values]: of how many nodes each value is an input, up to 2 */
} dt_checked_node;

/* ---- fields: program_check_fields.c ----
 *
 * Each of these returns DT_ERR_FORMAT with node, field and values if it does not hold. field is a word for people. */

/* The value is within least..most. */
DT_MUST_CHECK dt_status dt_check_within(const dt_checked_node *v, const char *field, int64_t value, int64_t least,
                                        int64_t most);
/* The value is the one that is wanted. */
DT_MUST_CHECK dt_status dt_check_equals(const dt_checked_node *v, const char *field, int64_t value, int64_t wanted);
/* The value has data of that type. */
DT_MUST_CHECK dt_status dt_check_data(const dt_checked_node *v, int value, const char *field, dt_dtype type);
/* Input k is a parameter that nothing trains, with data of that type. Other nodes may read it. */
DT_MUST_CHECK dt_status dt_check_shared_param(const dt_checked_node *v, int k, const char *field, dt_dtype type);
/* Input k is such a parameter, and nobody else reads it. */
DT_MUST_CHECK dt_status dt_check_param(const dt_checked_node *v, int k, const char *field, dt_dtype type);
/* The F32 data of a value are finite and above `above`: 0 for scales, -INFINITY for the rest. */
DT_MUST_CHECK dt_status dt_check_numbers(const dt_checked_node *v, int value, const char *field, float above);
/* Input k is a parameter of its own whose numbers are such. */
DT_MUST_CHECK dt_status dt_check_param_numbers(const dt_checked_node *v, int k, const char *field, float above);
/* Input k is the scale of codes, which other codes may share. */
DT_MUST_CHECK dt_status dt_check_scale(const dt_checked_node *v, int k);

/* ---- nodes, each of the kind of its name: program_check_codes.c ---- */

DT_MUST_CHECK dt_status dt_check_quantize(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_requantize(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_qbinary(const dt_checked_node *v); /* QADD, QMUL */
DT_MUST_CHECK dt_status dt_check_qmatmul(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_transpose(const dt_checked_node *v);
/* A CODES that is a constant operand of a QMATMUL: codes of 8 bits around any zero point. */
DT_MUST_CHECK dt_status dt_check_matrix(const dt_checked_node *v);
/* Returns 1 if a QMATMUL reads the value. */
int dt_is_matrix(const dt_graph *g, int value);
DT_MUST_CHECK dt_status dt_check_qavgpool(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_qsoftmax(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_code_table(const dt_checked_node *v); /* TABLE of codes */

/* ---- nodes of capsules: program_check_caps.c ---- */

DT_MUST_CHECK dt_status dt_check_votes(const dt_checked_node *v);
DT_MUST_CHECK dt_status dt_check_route(const dt_checked_node *v);

#endif /* DT_PROGRAM_CHECKS_H */
