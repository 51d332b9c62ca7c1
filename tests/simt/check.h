/*
 * check.h - Criterion for the shim's tests in C++, where its own eq() takes no constants.
 */
#ifndef SIMT_CHECK_H
#define SIMT_CHECK_H

#include <cstdarg>
#include <cstdio>

#include <criterion/criterion.h>

/* Fails unless got == want, both exact as double, and says which case it is and what the two values are. */
template <class A, class B>
__attribute__((format(printf, 3, 4))) void check_equal(A got, B want, const char *format = "value", ...)
{
    const double g = static_cast<double>(got), w = static_cast<double>(want);
    char where[200];
    va_list list;

    if (g == w) return;
    va_start(list, format);
    vsnprintf(where, sizeof where, format, list);
    va_end(list);
    cr_assert(false, "%s: got %.17g, want %.17g", where, g, w);
}

#endif /* SIMT_CHECK_H */
