/*
 * compiled_c.h - the C of a program, compiled to a shared object in several dialects, and opened.
 *
 * Used by: tests/formats/test_program_c.c, tests/formats/test_program_c_codes.c.
 */
#ifndef COMPILED_C_H
#define COMPILED_C_H

#include "temp_files.h"

#include <dlfcn.h>

/* Contraction of products and sums is on by default in gnu11; -march=native is where there is something to contract. */
static const char *const c_dialects[] = {
    "-std=c99 -O0 -pedantic",
    "-std=c99 -O3 -march=native",
    "-std=gnu11 -O2 -march=native",
    "-std=gnu11 -O3 -march=native -ffp-contract=fast -funroll-loops",
};
enum { N_C_DIALECTS = sizeof c_dialects / sizeof c_dialects[0] };

static inline int has_compiler(const char *compiler)
{
    char command[128];

    snprintf(command, sizeof command, "%s --version >/dev/null 2>&1", compiler);
    return system(command) == 0;
}

/* Returns c/net.c of the temporary folder as a shared object, opened; the caller closes it. */
static inline void *compile_c(const char *compiler, const char *flags)
{
    static int n_objects;
    char command[2 * TEMP_PATH_BYTES], object[TEMP_PATH_BYTES + 32];

    snprintf(object, sizeof object, "%s/net%d.so", temp_folder, ++n_objects);
    snprintf(command, sizeof command,
             "cd '%s/c' && %s %s -Wall -Wextra -Wconversion -Wshadow -Werror -fPIC -shared -o ../net%d.so net.c >&2",
             temp_folder, compiler, flags, n_objects);
    cr_assert(eq(int, system(command), 0), "%s", command);
    void *library = dlopen(object, RTLD_NOW | RTLD_LOCAL);
    cr_assert(ne(ptr, library, NULL), "%s", dlerror());
    return library;
}

/* Sets *function, a pointer to a function, to the one of that name. */
static inline void find_in(void *library, const char *name, void *function)
{
    void *found = dlsym(library, name);

    cr_assert(ne(ptr, found, NULL), "%s", dlerror());
    memcpy(function, &found, sizeof found);
}

#endif /* COMPILED_C_H */
