/*
 * test_csv.c - tables of comma-separated values, their classes and quotes; the text of a data set's name, and how
 * samples are divided into training and test.
 */
#include "../support/set_files.h"

static const char iris[] =
    "length,width,kind\n5.1,3.5,setosa\n7.0,3.2,versicolor\r\n6.3,3.3,virginica\n\n4.9,3.0,setosa\n"
    "6.4,3.2,versicolor\n5.8,2.7,virginica\n";

TestSuite(csv, .init = temp_make, .fini = temp_remove);

/* Both parts: each sample of the table once, in the table's order. */
Test(csv, is_divided_by_its_own_seed)
{
    static const float length[6] = { 5.1f, 7.0f, 6.3f, 4.9f, 6.4f, 5.8f },
                       width[6] = { 3.5f, 3.2f, 3.3f, 3.0f, 3.2f, 2.7f };
    dt_dataset_view v[2];
    int seen = 0;

    temp_write_text("iris.csv", iris);
    dt_dataset *d[2] = { set_open(set_name("csv", "iris.csv,test=34,seed=5"), DT_SPLIT_TRAIN, &v[0]),
                         set_open(set_name("csv", "iris.csv,test=34,seed=5"), DT_SPLIT_TEST, &v[1]) };
    cr_assert(v[0].n == 4 && v[1].n == 2, "%lld and %lld", (long long)v[0].n, (long long)v[1].n);
    for (int p = 0; p < 2; p++) {
        int last = -1;
        cr_assert(v[p].height == 2 && v[p].width == 1 && v[p].channels == 1 && v[p].n_classes == 3);
        cr_assert(eq(str, (char *)v[p].class_names[0], "setosa"));
        cr_assert(eq(str, (char *)v[p].class_names[1], "versicolor"));
        cr_assert(eq(str, (char *)v[p].class_names[2], "virginica"));
        for (int64_t i = 0; i < v[p].n; i++) {
            int k = 0;
            while (k < 6 && (v[p].reals[2 * i] != length[k] || v[p].reals[2 * i + 1] != width[k])) k++;
            cr_assert(k < 6 && k > last && v[p].labels[i] == k % 3, "part %d, sample %lld: %d", p, (long long)i, k);
            seen |= 1 << k;
            last = k;
        }
        dt_dataset_close(d[p]);
    }
    cr_assert(seen == 63, "a sample is in no part: %d", seen);
}

Test(csv, class_is_in_its_column_and_numbers_are_in_order)
{
    dt_dataset_view v;

    temp_write_text("a.csv", "label,\"a, \"\"b\"\"\",c\n10,1,2\n9,3,4\n\"10\",5,6\n9,7,8\n");
    dt_dataset *d = set_open(set_name("csv", "a.csv,normalize=none"), DT_SPLIT_TRAIN, &v);
    cr_assert(v.n == 3 && v.n_classes == 2 && v.height == 2);
    cr_assert(eq(str, (char *)v.class_names[0], "9"));
    cr_assert(eq(str, (char *)v.class_names[1], "10"));
    for (int64_t i = 0; i < v.n; i++) {
        cr_assert(v.reals[2 * i + 1] == v.reals[2 * i] + 1.0f && v.labels[i] == ((int)v.reals[2 * i] % 4 == 1));
    }
    cr_assert(v.mean[0] == 0.0f && v.std[0] == 1.0f);
    dt_dataset_close(d);
}

Test(csv, damage_is_named)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        { "", "is empty, expected a header line" },
        { "a,b\n", "has no sample behind its header" },
        { "a\n1\n", "line 1: has 1 columns, expected 2" },
        { "a,b,c\n1,2,x\n1,x\n", "line 3: has 2 fields, expected 3, as the header" },
        { "a,b,c\n1,2,x\n1,two,x\n", "line 3: a value is 'two', expected a finite number" },
        { "a,b,c\n1,nan,x\n", "line 2: a value is 'nan', expected a finite number" },
        { "a,b,c\n1,2,\n", "line 2: the class, field 3, is empty" },
        { "a,b\n1,\"x\n1,y\n", "the file ends inside quotes" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        temp_write_text("bad.csv", cases[i].text);
        set_refused(set_name("csv", "bad.csv"), DT_ERR_FORMAT, cases[i].part);
    }
    temp_write("bad.csv", "a,b\n1\0,x\n", 9);
    set_refused(set_name("csv", "bad.csv"), DT_ERR_FORMAT, "byte 5: is 0, which no text has");
}

/* ---- names ---- */

Test(csv, text_of_a_name_is_checked)
{
    temp_write_text("iris.csv", iris);
    set_refused(set_name("csv", "gone.csv"), DT_ERR_IO, "there is no file");
    set_refused(set_name("har", "gone"), DT_ERR_IO, "there is no folder");
    set_refused(set_name("csv", "iris.csv,window=3"), DT_ERR_ARGUMENT,
                "'window' is no option of csv; there are: test seed normalize");
    set_refused(set_name("csv", "iris.csv,test=0"), DT_ERR_ARGUMENT,
                "test is '0', expected a whole number from 1 to 99");
    set_refused(set_name("csv", "iris.csv,test=2x"), DT_ERR_ARGUMENT, "test is '2x'");
    set_refused(set_name("csv", "iris.csv,normalize=all"), DT_ERR_ARGUMENT,
                "normalize is 'all', expected data or none");
    set_refused("tsv:a", DT_ERR_ARGUMENT, "there is no dataset 'tsv:a'");
    temp_write_text("one.csv", "a,b\n1,x\n");
    set_refused(set_name("csv", "one.csv"), DT_ERR_ARGUMENT, "there is 1 sample, and training and test need one each");
}

Test(csv, relative_path_is_in_the_folder_and_commas_may_be_in_it)
{
    const dt_dataset_options opt = { .name = "csv:a,b.csv,test=50", .dir = temp_folder, .split = DT_SPLIT_TEST };
    dt_dataset *d = NULL;
    dt_dataset_view v;
    char found[TEMP_PATH_BYTES];

    temp_write_text("a,b.csv", iris);
    cr_assert(eq(int, (int)dt_dataset_open(&opt, &d), DT_OK), "%s", dt_last_error());
    dt_dataset_look(d, &v);
    cr_assert(v.n == 3 && strcmp(v.name, opt.name) == 0);
    dt_dataset_close(d);
    cr_assert(eq(int, (int)dt_dataset_find(opt.name, temp_folder, DT_SPLIT_TRAIN, found, sizeof found), DT_OK));
    cr_assert(eq(str, found, (char *)temp_path("a,b.csv")));
}

Test(csv, kinds_are_listed)
{
    dt_dataset_kind_info kind;
    const int n = dt_dataset_kinds(0, &kind);

    cr_assert(eq(int, n, 7));
    for (int i = 0; i < n; i++) {
        dt_dataset_kinds(i, &kind);
        cr_assert(kind.kind[0] && kind.about[0] && kind.options[0] &&
                  (strcmp(kind.of, "FILE") == 0 || strcmp(kind.of, "DIR") == 0));
    }
    cr_assert(dt_dataset_has_pictures("cifar10") && !dt_dataset_has_pictures("synthetic-beats") &&
              !dt_dataset_has_pictures("csv:x") && dt_dataset_has_pictures(NULL));
}
