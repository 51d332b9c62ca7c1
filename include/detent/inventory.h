/*
 * inventory.h - every tensor of a file: what it stores, and what its network computes.
 */
#ifndef DT_PUBLIC_INVENTORY_H
#define DT_PUBLIC_INVENTORY_H

#include "types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DT_TENSOR_DIMS = 8 };

typedef struct {
    char *name; /* owned */
    const char
        *type; /* as TensorFlow Lite calls it: "FLOAT32", "INT8"; or as safetensors does, where only that has it */
    int ndim;  /* 0: one number */
    int64_t dim[DT_TENSOR_DIMS]; /* as the file has them; of what is computed, those of one image */
    int64_t bytes;
    int is_constant; /* 1: the file stores it; 0: it is computed, or given from outside */
} dt_tensor_info;

typedef struct {
    dt_tensor_info *tensor; /* [n], owned */
    int n;
} dt_inventory;

/* Makes the list of a TensorFlow Lite file, or of any safetensors file. Where that is a checkpoint or a program, the
 * image and what the network computes of it are listed too, in the narrowest type that holds their codes.
 * DT_ERR_FORMAT: the file is neither, or is damaged. dt_inventory_destroy frees *out. */
DT_API DT_MUST_CHECK dt_status dt_inventory_read(const char *path, dt_inventory **out);
DT_API void dt_inventory_destroy(dt_inventory *v);
/* Returns the tensor of that name, or NULL. */
DT_API const dt_tensor_info *dt_inventory_find(const dt_inventory *v, const char *name);

#ifdef __cplusplus
}
#endif
#endif /* DT_PUBLIC_INVENTORY_H */
