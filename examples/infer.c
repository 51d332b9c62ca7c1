/*
 * infer.c - loads an integer program and runs it on an image of random pixels: by plain loops, without a device. It is
 * C and C++.
 *
 *   cc infer.c $(pkg-config --cflags --libs detent) -o infer && ./infer PROGRAM.safetensors
 */
#include <detent/detent.h>
#include <stdio.h>
#include <stdlib.h>

static dt_status infer(const char *file, dt_program **program)
{
    dt_program_info info;

    DT_TRY(dt_program_load(file, program));
    dt_program_describe(*program, &info);
    const size_t bytes = (size_t)info.height * (size_t)info.width * (size_t)info.channels;
    uint8_t *image = (uint8_t *)malloc(bytes);
    float *scores = (float *)malloc((size_t)info.n_classes * sizeof *scores);
    dt_status status =
        image && scores ? DT_OK : dt_raise(DT_ERR_MEMORY, __FILE__, __LINE__, "%s: no memory for an image", file);
    for (size_t i = 0; status == DT_OK && i < bytes; i++) image[i] = (uint8_t)(i * 37 % 256);
    if (status == DT_OK) status = dt_program_run(*program, image, scores);
    for (int c = 0; status == DT_OK && c < info.n_classes; c++) printf("class %d: %g\n", c, (double)scores[c]);
    free(scores);
    free(image);
    return status;
}

int main(int argc, char **argv)
{
    dt_program *program = NULL;

    if (argc != 2) {
        fprintf(stderr, "usage: %s PROGRAM.safetensors\n", argv[0]);
        return EXIT_FAILURE;
    }
    const dt_status status = infer(argv[1], &program);
    if (status != DT_OK) fprintf(stderr, "%s\n", dt_last_error());
    dt_program_destroy(program);
    return status != DT_OK;
}
