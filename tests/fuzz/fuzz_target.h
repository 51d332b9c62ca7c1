/*
 * fuzz_target.h - what a fuzz target defines, and an input as a file for loaders that take a path.
 *
 * A target is run by libFuzzer (fuzz.sh) on inputs that it makes up, and by replay.c, in every test run, on corpus/.
 */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* libFuzzer's entry: one input, any bytes; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must never happen: stops the fuzzer with this input. */
#define FUZZ_REQUIRE(condition)                                                                      \
    do {                                                                                             \
        if (condition) break;                                                                        \
        fprintf(stderr, "%s:%d: not so: %s\n%s\n", __FILE__, __LINE__, #condition, dt_last_error()); \
        abort();                                                                                     \
    } while (0)

/* A path at which the bytes can be opened, until the next call; the file lives in memory. */
static inline const char *fuzz_path(const uint8_t *data, size_t size)
{
    static char path[64];
    static int fd = -1;

    if (fd < 0) fd = memfd_create("input", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size) {
        perror("fuzz_path");
        abort();
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

#endif /* FUZZ_TARGET_H */
