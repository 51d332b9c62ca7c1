/*
 * test_ptbxl.c - PTB-XL in a folder of a few records written here: labels, folds, millivolts, and damaged files.
 */
#include "../support/set_files.h"

enum { SAMPLES = 1000, LEADS = 12 };

static const char statements[] = ",description,diagnostic,form,rhythm,diagnostic_class\n"
                                 "NORM,\"normal, ECG\",1.0,,,NORM\nIMI,inferior,1.0,,,MI\nLVH,large,1.0,,,HYP\n"
                                 "SR,sinus rhythm,,,1.0,\n";

/* Records 1 to 4 in folds 1, 9, 10, 10. */
static const char database[] = "ecg_id,scp_codes,strat_fold,filename_lr\n"
                               "1,\"{'IMI': 35.0, 'LVH': 0.0, 'SR': 0.0}\",1,records100/00001_lr\n"
                               "2,{'NORM': 100.0},9,records100/00002_lr\n"
                               "3,{'SR': 0.0},10,records100/00003_lr\n"
                               "4,\"{'NORM': 100.0, 'SR': 0.0}\",10,records100/00004_lr\n";

static int sample(int record, int i)
{
    return (i * 37 + record * 1000) % 4001 - 2000;
}

/* gain 200 with a baseline of 10; checksums may be wrong by `slip`. */
static void write_record(int record, int slip)
{
    static int16_t values[SAMPLES * LEADS];
    char header[2048], name[64];
    int used = snprintf(header, sizeof header, "# a comment\n%05d_lr 12 100 1000\n", record);

    for (int i = 0; i < SAMPLES * LEADS; i++) values[i] = (int16_t)sample(record, i);
    for (int lead = 0; lead < LEADS; lead++) {
        uint16_t sum = 0;
        for (int i = 0; i < SAMPLES; i++) sum = (uint16_t)(sum + (unsigned)values[i * LEADS + lead]);
        used += snprintf(header + used, sizeof header - (size_t)used, "%05d_lr.dat 16 200.0(10)/mV 16 0 %d %d 0 lead\n",
                         record, values[lead], (int16_t)(sum + (unsigned)(lead == 7 ? slip : 0)));
    }
    snprintf(name, sizeof name, "records100/%05d_lr.hea", record);
    temp_write_text(name, header);
    snprintf(name, sizeof name, "records100/%05d_lr.dat", record);
    temp_write(name, values, sizeof values);
}

static void make(void)
{
    temp_make();
    mkdir(temp_path("records100"), 0700);
    temp_write_text("scp_statements.csv", statements);
    temp_write_text("ptbxl_database.csv", database);
    for (int r = 1; r <= 4; r++) write_record(r, 0);
}

TestSuite(ptbxl, .init = make, .fini = temp_remove);

static void expect_record(const dt_dataset_view *v, int64_t at, int record, const int32_t *label)
{
    for (int i = 0; i < SAMPLES * LEADS; i++) {
        const float want = (float)(sample(record, i) - 10) / 200.0f;
        cr_assert(v->reals[at * SAMPLES * LEADS + i] == want, "record %d, value %d", record, i);
    }
    cr_assert(memcmp(v->labels + at * 5, label, 5 * sizeof *label) == 0, "labels of record %d", record);
}

Test(ptbxl, folds_and_superclasses)
{
    static const int32_t mi_hyp[5] = { 0, 1, 0, 0, 1 }, norm[5] = { 1 }, none[5] = { 0 };
    dt_dataset_view v;

    dt_dataset *d = set_open(set_name("ptbxl", ""), DT_SPLIT_TRAIN, &v);
    cr_assert(v.n == 1 && v.height == SAMPLES && v.width == LEADS && v.multi_label && v.n_classes == 5);
    cr_assert(eq(str, (char *)v.class_names[4], "HYP"));
    expect_record(&v, 0, 1, mi_hyp);
    dt_dataset_close(d);
    d = set_open(set_name("ptbxl", ""), DT_SPLIT_TEST, &v);
    cr_assert(v.n == 2);
    expect_record(&v, 0, 3, none);
    expect_record(&v, 1, 4, norm);
    dt_dataset_close(d);
    d = set_open(set_name("ptbxl", ",fold=9"), DT_SPLIT_TEST, &v);
    cr_assert(v.n == 1);
    expect_record(&v, 0, 2, norm);
    dt_dataset_close(d);
}

Test(ptbxl, damage_is_named)
{
    write_record(1, 1);
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT, "00001_lr.dat: signal 8 has the checksum");
    write_record(1, 0);
    cr_assert(truncate(temp_path("records100/00001_lr.dat"), 2 * SAMPLES * LEADS - 24) == 0);
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT, "has 23976 bytes, expected 24000");
    write_record(1, 0);
    temp_write_text("records100/00001_lr.hea", "00001_lr 12 500 5000\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT,
                "line 1: 12 signals of 5000 samples at 500 Hz, expected 12 of 1000 at 100");
    temp_write_text("records100/00001_lr.hea", "00001_lr 12 100 1000\na.dat 212 200 16 0 1 1 0 I\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_UNSUPPORTED, "line 2: format 212, expected 16");
    temp_write_text("records100/00001_lr.hea", "00001_lr 12 100 1000\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT, "ends behind line 1, expected a line for each signal");
    remove(temp_path("records100/00001_lr.hea"));
    set_refused(set_name("ptbxl", ""), DT_ERR_IO, "00001_lr.hea: cannot be opened");
    temp_write_text("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_lr\n1,{'NORM': 100.0},0,a\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT,
                "line 2: strat_fold is '0', expected a whole number from 1 to 10");
    temp_write_text("ptbxl_database.csv", "ecg_id,scp_codes,strat_fold,filename_lr\n1,NORM,1,a\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT, "line 2: scp_codes is 'NORM', expected {'CODE': likelihood");
    temp_write_text("ptbxl_database.csv", "ecg_id,scp_codes,filename_lr\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT, "line 1: has no column 'strat_fold'");
    temp_write_text("scp_statements.csv", ",diagnostic,diagnostic_class\nNORM,1.0,WELL\n");
    set_refused(set_name("ptbxl", ""), DT_ERR_FORMAT,
                "the superclass of NORM is 'WELL', expected NORM, MI, STTC, CD or HYP");
}
