/*
 * vector_text.h - one vector file as text: header lines, then lines of lanes of '0' and '1', most significant bit
 *                 first, two's complement where the file is signed.
 */
#ifndef DT_VECTOR_TEXT_H
#define DT_VECTOR_TEXT_H

#include "vectors.h"

/* Allocates the text of f, a file of v, with its header and every lane 0. */
DT_MUST_CHECK dt_status dt_vector_text_begin(const dt_vectors *v, dt_vector_file *f);

/* The first character of the data in f->text, which a lane is put to and got from; the text has its header. put keeps
 * the low f->bits bits. */
char *dt_vector_text_data(const dt_vector_file *f);
void dt_vector_text_put(const dt_vector_file *f, char *data, int line, int lane, int64_t value);
int64_t dt_vector_text_get(const dt_vector_file *f, const char *data, int line, int lane);

/* f->text has as many header lines, which begin with // or #, and as many lines and lanes as f says, of nothing but '0'
 * and '1'. DT_ERR_FORMAT names file, line and character. */
DT_MUST_CHECK dt_status dt_vector_text_check(const dt_vector_file *f);

/* Makes the twin's text from f's, which has been made or checked: the same header, decimals, right-aligned. */
DT_MUST_CHECK dt_status dt_vector_text_twin(const dt_vector_file *f, dt_vector_file *twin);

#endif /* DT_VECTOR_TEXT_H */
