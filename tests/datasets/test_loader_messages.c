/*
 * test_loader_messages.c - what each reader of a kind says of files that are cut off, have wrong labels or are of
 * another format: the file, the line or byte, what is there, what is expected, and what to do.
 */
#include "../support/array_files.h"
#include "../support/set_files.h"

enum { N = 10, FEATURES = 3, RECORD = 1000 * 12 };

typedef enum { CUT_OFF, MISLABELLED, FOREIGN, WHOLE } damage;

TestSuite(loader_messages, .init = temp_make, .fini = temp_remove);

/* What a picture begins with. */
static const char png[] = "\x89PNG\r\n\x1a\nIHDR, and the rest of a picture\n";

/* ---- files of each kind, damaged in one way ---- */

static void cut(const char *name, long bytes)
{
    cr_assert(truncate(temp_path(name), bytes) == 0);
}

static void write_arrays(damage d, int is_npz)
{
    static float x[N * FEATURES];
    static int32_t y[N];
    const array both[2] = { { "x", "<f4", DT_SAFETENSORS_F32, 2, { N, FEATURES }, x, sizeof x },
                            { "y", "<i4", DT_SAFETENSORS_I32, 1, { N }, y, sizeof y } };

    for (int i = 0; i < N; i++) y[i] = i % 2;
    if (d == MISLABELLED) y[4] = -1;
    if (is_npz)
        write_npz("data", both, 2, 1);
    else
        write_safetensors("data", both, 2);
    if (d == CUT_OFF) cut("data", 100);
    if (d == FOREIGN) temp_write("data", png, sizeof png);
}

static void write_safetensors_set(damage d)
{
    write_arrays(d, 0);
}

static void write_npz_set(damage d)
{
    write_arrays(d, 1);
}

static void write_csv(damage d)
{
    static const char *const texts[] = { "a,b,kind\n1,2,\"red\"\n3,4,\"bl", "a,b,kind\n1,2,red\n3,4,\n", png,
                                         "a,b,kind\n1,2,red\n3,4,blue\n" };

    temp_write_text("data", texts[d]);
}

static void write_wisdm11(damage d)
{
    static const char *const texts[] = { "1,Walking,0,1,2,3;\n1,Walking,5000",
                                         "1,Walking,0,1,2,3;\n1,Flying,1,1,2,3;\n", png, "" };

    temp_write_text("data", texts[d]);
}

static void write_wisdm(damage d)
{
    static const char *const texts[] = { "1,A,0,1,2,3;\n1,A,50000", "1,A,0,1,2,3;\n1,T,50000000,1,2,3;\n", png,
                                         "1,A,0,1,2,3;\n1,A,50000000,1,2,3;\n" };
    static const char *const folders[] = { "raw", "raw/watch", "raw/watch/accel", "raw/watch/gyro" };

    for (int i = 0; i < 4; i++) mkdir(temp_path(folders[i]), 0700);
    temp_write_text("raw/watch/accel/data_1_accel_watch.txt", texts[d]);
    temp_write_text("raw/watch/gyro/data_1_gyro_watch.txt", texts[WHOLE]);
}

/* Two windows of each signal. */
static void write_har(damage d)
{
    static const char *const signals[] = { "body_acc_x",  "body_acc_y",  "body_acc_z",  "body_gyro_x", "body_gyro_y",
                                           "body_gyro_z", "total_acc_x", "total_acc_y", "total_acc_z" };
    char text[2048] = "", name[96];

    for (int i = 0; i < 256; i++) snprintf(text + strlen(text), 8, "%d%s", i % 7, i % 128 == 127 ? "\n" : " ");
    mkdir(temp_path("train"), 0700);
    mkdir(temp_path("train/Inertial Signals"), 0700);
    for (int s = 0; s < 9; s++) {
        snprintf(name, sizeof name, "train/Inertial Signals/%s_train.txt", signals[s]);
        temp_write_text(name, d == FOREIGN && s == 2 ? png : text);
        if (d == CUT_OFF && s == 4) cut(name, 300);
    }
    temp_write_text("train/y_train.txt", d == MISLABELLED ? "5\n7\n" : "5\n1\n");
    temp_write_text("train/subject_train.txt", "1\n2\n");
}

static void write_ptbxl(damage d)
{
    static int16_t values[RECORD];
    char header[2048] = "00001_lr 12 100 1000\n";

    for (int lead = 0; lead < 12; lead++) {
        snprintf(header + strlen(header), 64, "00001_lr.dat 16 200.0(0)/mV 16 0 0 0 0 lead\n");
    }
    mkdir(temp_path("records100"), 0700);
    temp_write_text("scp_statements.csv", ",diagnostic,diagnostic_class\nNORM,1.0,NORM\n");
    temp_write_text("ptbxl_database.csv", d == MISLABELLED ? "ecg_id,scp_codes,strat_fold,filename_lr\n1,NORM,1,a\n"
                                                           : "ecg_id,scp_codes,strat_fold,filename_lr\n"
                                                             "1,{'NORM': 100.0},1,records100/00001_lr\n");
    temp_write_text("records100/00001_lr.hea", d == FOREIGN ? png : header);
    temp_write("records100/00001_lr.dat", values, sizeof values);
    if (d == CUT_OFF) cut("records100/00001_lr.dat", 23976);
}

/* ---- what is said ---- */

#define UCI(set) "; unpack the archive of https://archive.ics.uci.edu/dataset/" set " again"

static const struct {
    const char *kind, *path;
    void (*write)(damage d);
    damage damage;
    const char *file, *place, *found, *expected, *remedy;
} rows[] = {
    { "safetensors", "data", write_safetensors_set, CUT_OFF, "data: ", "header length is 136", "but 92 bytes follow",
      "not a safetensors file, or cut short", "; write the file again; docs/DATA.md has its arrays" },
    { "safetensors", "data", write_safetensors_set, MISLABELLED, "data: ", "class 4 of 'y'", "is -1",
      "expected a whole number from 0", "; write the file again; docs/DATA.md has its arrays" },
    { "safetensors", "data", write_safetensors_set, FOREIGN, "data: ", "header length is 727905341920923785",
      "but 33 bytes follow", "not a safetensors file", "; write the file again; docs/DATA.md has its arrays" },
    { "npz", "data", write_npz_set, CUT_OFF, "data: ", "its last 100 bytes", "is no zip archive, or is cut off",
      "end record (50 4b 05 06)", "; write the file again, by numpy.savez" },
    { "npz", "data", write_npz_set, MISLABELLED, "data: ", "class 4 of 'y'", "is -1", "expected a whole number from 0",
      "; write the file again, by numpy.savez" },
    { "npz", "data", write_npz_set, FOREIGN, "data: ", "bytes", "is no zip archive", "end record (50 4b 05 06)",
      "; write the file again, by numpy.savez" },
    { "csv", "data", write_csv, CUT_OFF, "data", "line 3", "ends inside quotes", "quotes",
      "; correct the table, or write it again" },
    { "csv", "data", write_csv, MISLABELLED, "data", "line 3", "is empty", "the class, field 3",
      "; correct the table, or write it again" },
    { "csv", "data", write_csv, FOREIGN, "data", "line 1", "has 1 columns",
      "expected 2 to 4096: numbers and a class, separated by commas", "; correct the table, or write it again" },
    { "wisdm11", "data", write_wisdm11, CUT_OFF, "data", "line 2", "the record '1,Walking,5000'",
      "the file ends inside", "; unpack WISDM_ar_latest.tar.gz" },
    { "wisdm11", "data", write_wisdm11, MISLABELLED, "data", "line 2", "'Flying'", "expected Walking",
      "; unpack WISDM_ar_latest.tar.gz" },
    { "wisdm11", "data", write_wisdm11, FOREIGN, "data", "line 3", "the record 'IHDR, and the rest of a picture'",
      "expected subject,activity,time,x,y,z;", "; unpack WISDM_ar_latest.tar.gz" },
    { "wisdm", "", write_wisdm, CUT_OFF, "data_1_accel_watch.txt", "line 2", "the record '1,A,50000'",
      "the file ends inside", UCI("507") },
    { "wisdm", "", write_wisdm, MISLABELLED, "data_1_accel_watch.txt", "line 2", "'T'", "expected a letter from A to S",
      UCI("507") },
    { "wisdm", "", write_wisdm, FOREIGN, "data_1_accel_watch.txt", "line 1", "has not six fields",
      "expected subject,activity,time,x,y,z;", UCI("507") },
    { "har", "", write_har, CUT_OFF, "body_gyro_y_train.txt", "line 2", "numbers", "expected 128", UCI("240") },
    { "har", "", write_har, MISLABELLED, "y_train.txt", "line 2", "y is '7'", "expected a whole number from 1 to 6",
      UCI("240") },
    { "har", "", write_har, FOREIGN, "body_acc_z_train.txt", "line 1", "a value is '\x89PNG'", "expected", UCI("240") },
    { "ptbxl", "", write_ptbxl, CUT_OFF, "00001_lr.dat", "bytes", "has 23976", "expected 24000",
      "; get the files of https://physionet.org" },
    { "ptbxl", "", write_ptbxl, MISLABELLED, "ptbxl_database.csv", "line 2", "scp_codes is 'NORM'",
      "expected {'CODE': likelihood", "; get the files of https://physionet.org" },
    { "ptbxl", "", write_ptbxl, FOREIGN, "00001_lr.hea", "line 1", "'\x89PNG' is no record line", "expected",
      "; get the files of https://physionet.org" },
};

Test(loader_messages, name_file_place_found_expected_and_remedy)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const dt_dataset_options opt = { .name = set_name(rows[i].kind, rows[i].path) };
        const char *const parts[] = { rows[i].file, rows[i].place, rows[i].found, rows[i].expected, rows[i].remedy };
        dt_dataset *d = NULL;
        rows[i].write(rows[i].damage);
        const dt_status status = dt_dataset_open(&opt, &d);
        cr_expect(status == DT_ERR_FORMAT || status == DT_ERR_SHAPE, "%s, row %zu: %s", rows[i].kind, i,
                  dt_status_name(status));
        for (size_t k = 0; k < sizeof parts / sizeof parts[0]; k++) {
            cr_expect(strstr(dt_last_error(), parts[k]) != NULL, "%s, row %zu: no '%s' in: %s", rows[i].kind, i,
                      parts[k], dt_last_error());
        }
        temp_remove();
        temp_make();
    }
}
