/*
 * replay.c - runs a fuzz target on the files that are named, without a fuzzer: what once broke stays mended.
 */
#include "fuzz_target.h"

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;

    if (!file || fseek(file, 0, SEEK_END) != 0) return NULL;
    const long n = ftell(file);
    rewind(file);
    if (n >= 0) bytes = malloc((size_t)n + 1);
    if (bytes && fread(bytes, 1, (size_t)n, file) != (size_t)n) {
        free(bytes);
        bytes = NULL;
    }
    fclose(file);
    *size = (size_t)n;
    return bytes;
}

int main(int n_arguments, char **argument)
{
    for (int i = 1; i < n_arguments; i++) {
        size_t size;
        uint8_t *bytes = read_file(argument[i], &size);
        if (!bytes) {
            perror(argument[i]);
            return 1;
        }
        LLVMFuzzerTestOneInput(bytes, size);
        free(bytes);
    }
    printf("%d inputs\n", n_arguments - 1);
    return n_arguments > 1 ? 0 : 1;
}
