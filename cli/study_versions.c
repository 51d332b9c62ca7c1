/*
 * study_versions.c - the versions of the study's networks by its own names, and how long each is trained. See study.h.
 */
#include "study.h"

const char *const study_model_names[] = { "SMARTWATCH", "BSPC", "BSPC_GAP" };

const study_version study_versions[] = {
    { 0, 0, STAGE_AFTER, "model_after_pruning_lean_0.65", "model", "0.65" },
    { 0, 1, STAGE_AFTER, "model_after_pruning_fat_0.65", "model", "0.65" },
    { 0, 0, STAGE_BEFORE, "Smart_Watch_Lean", "Smart_Watch_Lean", NULL },
    { 0, 1, STAGE_BEFORE, "Smart_Watch_Fat", "Smart_Watch_Fat", NULL },
    { 1, 0, STAGE_AFTER, "BSPC_seq_param100K_pruned_90", "BSPC_seq_param100K_pruned_90", "0.90" },
    { 1, 1, STAGE_AFTER, "BSPC_seq_param4M_pruned_80", "BSPC_seq_param4M_pruned_80", "0.80" },
    { 1, 0, STAGE_BEFORE, "BSPC_ST_CNN_5_V2", "BSPC_ST_CNN_5_V2", NULL },
    { 1, 1, STAGE_BEFORE, "BSPC_seq_param4M", "BSPC_seq_param50", NULL },
    { 2, 0, STAGE_AFTER, "BSPC_res_param250K_pruned_85", "BSPC_res_param250K_pruned_85", "0.85" },
    { 2, 1, STAGE_AFTER, "BSPC_res_param4M_pruned_85", "BSPC_res_param4M_pruned_85", "0.85" },
    { 2, 0, STAGE_BEFORE, "BSPC_res_param250K", "BSPC_res_param250K", NULL },
    { 2, 1, STAGE_BEFORE, "BSPC_res_param4M", "BSPC_res_param4M", NULL },
    { 0, 0, STAGE_FINAL, "0_3_bottom_left", "Smart_Watch_0.65_lean", "fc1:4x4" },
    { 0, 0, STAGE_FINAL, "0_5_top_left", "Smart_Watch_0.65_lean", "fc1:4x4x4" },
    { 0, 0, STAGE_FINAL, "4_7_bottom_left", "Smart_Watch_0.65_lean", "fc1:6x6x6" },
    { 0, 1, STAGE_FINAL, "0_0_bottom_left", "Smart_Watch_0.65_fat", "fc1:6x6" },
    { 0, 1, STAGE_FINAL, "7_7_bottom_right", "Smart_Watch_0.65_fat", "fc1:12x12" },
    { 1, 0, STAGE_FINAL, "0_0_bottom_right", "BSPC_seq_param100K_pruned_90", "fc1:8,fc2:6x6x6" },
    { 1, 1, STAGE_FINAL, "0_7_top_right", "BSPC_seq_param4M_pruned_80", "fc1:12x12" },
    { 2, 0, STAGE_FINAL, "0_0_bottom_left", "BSPC_res_param250K_pruned_85", "fc1:12" },
    { 2, 1, STAGE_FINAL, "0_6_bottom_left", "BSPC_res_param4M_pruned_85", "fc1:24" },
};

const char *const study_network_files[STUDY_MODELS][2] = { { "smartwatch_lean", "smartwatch_fat" },
                                                           { "bspc_lean", "bspc_fat" },
                                                           { "bspc_gap_lean", "bspc_gap_fat" } };

/* Quick, for less than half an hour of two cores; and as long as it takes. */
const study_size study_sizes[2][STUDY_MODELS][2] = {
    { { { 0, 0, 64, 0.005, 12, 12, 2 }, { 0, 0, 64, 0.005, 8, 6, 2 } },
      { { 400, 150, 20, 0.003, 5, 4, 1 }, { 400, 150, 20, 0.001, 2, 3, 1 } },
      { { 400, 150, 20, 0.003, 4, 4, 1 }, { 200, 150, 20, 0.001, 2, 3, 1 } } },
    { { { 0, 0, 64, 0.005, 30, 20, 5 }, { 0, 0, 64, 0.005, 20, 15, 5 } },
      { { 0, 0, 64, 0.003, 20, 15, 4 }, { 0, 0, 64, 0.001, 15, 12, 3 } },
      { { 0, 0, 64, 0.003, 20, 15, 4 }, { 0, 0, 64, 0.001, 15, 12, 3 } } },
};

void study_folder(const char *dir, const study_version *v, char *text)
{
    const char *name = study_model_names[v->model];

    snprintf(text, PATH_BYTES, "%s/%s model/%s %s models/%s", dir, name, v->is_fat ? "fat" : "lean", name, v->folder);
}
