/* The redo log: what a database lacks of it after a restore is found and applied, once. */
#include "redo_fixture.h"

static void ordinary_starts_lack_nothing(void **state)
{
    struct fixture *f = *state;
    struct redo_status status;
    for (int i = 0; i < 3; i++) {
        assert_false(start(f));
        assert_int_equal(f->seen_count, 0);
        note_token(f, (uint8_t)(i + 1));
        redo_status(f->redo, &status);
        assert_false(status.restored);
        if (i == 1)
            crash(f);
        else
            stop(f);
        restart_store(f);
    }
    assert_false(start(f));
}

static enum pl_err write_nothing(void *ctx, struct pl_why *why)
{
    (void)ctx;
    (void)why;
    return PL_OK;
}

static void a_restored_database_gets_what_it_lacks(void **state)
{
    struct fixture *f = *state;
    struct redo_status status;
    start(f);
    note_token(f, 1);
    copy_store(f);
    const struct redo_record records[] = {
        {.kind = REDO_OPTOUT, .account = 7, .id = {.bytes = {2}}, .row = PL_SPAN_LIT("a row")},
        {.kind = REDO_CHANGE, .what = "config", .account = 7},
        {.kind = REDO_ACCOUNT,
         .account = 8,
         .state = ACCOUNT_DELETING,
         .expires_at_ms = DAY_ONE_MS,
         .deletion_started_ms = DAY_ONE_MS + 1,
         .on_request = true,
         .requested_ms = DAY_ONE_MS - 1},
        {.kind = REDO_ACCOUNT, .account = 9, .state = ACCOUNT_ACTIVE},
        {.kind = REDO_CERTIFICATE, .account = 8, .row = PL_SPAN_LIT("{\"signed\":\"\n\"}")},
        {.kind = REDO_HOLD, .account = 9, .id = {.bytes = {3}}, .row = PL_SPAN_LIT("{}")},
        {.kind = REDO_EDGE, .id = {.bytes = {4}}},
    };
    for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
        must(redo_note(f->redo, &records[i], &f->r.why), &f->r.why);
    uint8_t key[24] = {0, 0, 0, 0, 0, 0, 0, 9, 5};
    must(redo_make_erasure(f->redo, pl_span(key, sizeof(key)), PL_SPAN_LIT("whom"), write_nothing,
                           NULL, &f->r.why),
         &f->r.why);
    stop(f);
    restore_store(f);

    assert_true(start(f));
    /* the first one had reached the copy, but only its note is known to have */
    assert_int_equal(f->seen_count, 8);
    assert_int_equal(f->seen[0].kind, REDO_TOKEN);
    assert_int_equal(f->seen[1].kind, REDO_OPTOUT);
    assert_int_equal(f->seen[1].account, 7);
    assert_int_equal(f->seen[1].id.bytes[0], 2);
    assert_string_equal(f->rows[1], "a row");
    assert_int_equal(f->seen[2].state, ACCOUNT_DELETING);
    assert_int_equal(f->seen[2].expires_at_ms, DAY_ONE_MS);
    assert_int_equal(f->seen[2].deletion_started_ms, DAY_ONE_MS + 1);
    assert_true(f->seen[2].on_request);
    assert_int_equal(f->seen[2].requested_ms, DAY_ONE_MS - 1);
    assert_int_equal(f->seen[3].state, ACCOUNT_ACTIVE);
    assert_int_equal(f->seen[3].expires_at_ms, 0);
    assert_string_equal(f->rows[4], "{\"signed\":\"\n\"}");
    assert_int_equal(f->seen[6].kind, REDO_EDGE);
    assert_int_equal(f->seen[7].kind, REDO_ERASURE);
    assert_int_equal(f->seen[7].account, 9);
    assert_int_equal(f->seen[7].id.bytes[0], 5);
    assert_string_equal(f->rows[7], "whom");

    redo_status(f->redo, &status);
    assert_true(status.restored);
    assert_int_equal(status.restored_ms, f->r.now_ms);
    assert_int_equal(status.lacked, 9); /* the stop, too */
    stop(f);
    restart_store(f);
    assert_false(start(f));
    assert_int_equal(f->seen_count, 0);
    redo_status(f->redo, &status);
    assert_true(status.restored); /* told for a day, over restarts */
    f->r.now_ms += PL_DAY_MS;
    redo_status(f->redo, &status);
    assert_false(status.restored);
}

/* A copy from the same run, after which nothing was changed. */
static void a_restore_with_no_change_in_between_shows(void **state)
{
    struct fixture *f = *state;
    for (int how = 0; how < 3; how++) {
        char command[128];
        start(f);
        copy_store(f);
        if (how == 0) {
            stop(f);
        } else if (how == 1) {
            f->r.now_ms += REDO_PULSE_MS;
            redo_pulse(f->redo, 0, 0);
            crash(f);
        } else { /* the origin was started again since */
            crash(f);
            restart_store(f);
            assert_false(start(f));
            crash(f);
        }
        restore_store(f);
        assert_true(start(f));
        assert_int_equal(f->seen_count, 0);
        stop(f);
        restart_store(f);
        snprintf(command, sizeof(command), "rm -rf %s/copy", f->r.f.dir);
        assert_int_equal(system(command), 0);
    }
}

static uint64_t lines(struct fixture *f)
{
    struct redo_status status;
    redo_status(f->redo, &status);
    return status.journal.lines;
}

static void a_pulse_comes_only_so_often(void **state)
{
    struct fixture *f = *state;
    start(f);
    uint64_t before = lines(f);
    for (int i = 0; i < 20; i++) {
        f->r.now_ms += REDO_PULSE_MS / 10;
        redo_pulse(f->redo, 0, 0);
    }
    assert_int_equal(lines(f) - before, 2);
    before = lines(f);
    for (uint64_t i = 1; i <= 40; i++) { /* something is stored all the time */
        f->r.now_ms += REDO_STORED_MS / 10;
        redo_pulse(f->redo, i, 0);
    }
    assert_int_equal(lines(f) - before, 4);
    before = lines(f);
    f->r.now_ms += REDO_STORED_MS;
    redo_pulse(f->redo, 40, 0);
    f->r.now_ms += REDO_STORED_MS;
    redo_pulse(f->redo, 40, 0);
    assert_int_equal(lines(f) - before, 0); /* and then no more */
}

/* Whoever has put the file back need not change anything for probes to be well again. */
static void a_log_that_could_not_be_written_is_tried_again_soon(void **state)
{
    struct fixture *f = *state;
    const struct redo_record record = {.kind = REDO_TOKEN, .id = {.bytes = {1}}};
    struct redo_status status;
    char aside[128];
    start(f);
    snprintf(aside, sizeof(aside), "%s.1", f->paths[1]);
    assert_int_equal(rename(f->paths[1], aside), 0);
    assert_int_equal(redo_note(f->redo, &record, &f->r.why), PL_ECORRUPT);
    assert_int_equal(rename(aside, f->paths[1]), 0);
    f->r.now_ms += REDO_STORED_MS - 1;
    redo_pulse(f->redo, 0, 0);
    redo_status(f->redo, &status);
    assert_string_equal(status.journal.trouble, f->r.why.text);
    f->r.now_ms++;
    redo_pulse(f->redo, 0, 0);
    redo_status(f->redo, &status);
    assert_string_equal(status.journal.trouble, "");
}

/* A copy of a running origin that is restored soon, with nothing but events stored since. */
static void a_copy_of_a_minute_ago_shows(void **state)
{
    struct fixture *f = *state;
    start(f);
    f->r.now_ms += REDO_STORED_MS;
    redo_pulse(f->redo, 1, 0);
    copy_store(f);
    f->r.now_ms += REDO_STORED_MS;
    redo_pulse(f->redo, 2, 0);
    crash(f);
    restore_store(f);
    assert_true(start(f));
}

/* The copy has seen the note, and not the change. */
static void a_copy_between_note_and_change_gets_the_change(void **state)
{
    struct fixture *f = *state;
    start(f);
    note_token(f, 1);
    struct redo_record record = {.kind = REDO_TOKEN, .id = {.bytes = {2}}};
    must(redo_note(f->redo, &record, &f->r.why), &f->r.why);
    copy_store(f);
    stop(f);
    restore_store(f);
    assert_true(start(f));
    assert_int_equal(f->seen_count, 2);
    assert_int_equal(f->seen[1].id.bytes[0], 2);
}

static void a_replay_that_failed_is_begun_again(void **state)
{
    struct fixture *f = *state;
    struct redo_status status;
    start(f);
    copy_store(f);
    for (uint8_t i = 1; i <= 3; i++)
        note_token(f, i);
    stop(f);
    restore_store(f);
    must(try_open(f), &f->r.why);
    f->fail_at = 2;
    f->seen_count = 0;
    assert_int_equal(redo_replay(f->redo, apply, f, &f->r.why), PL_EIO);
    assert_non_null(strstr(f->r.why.text, "redo log"));
    /* nothing is noted before it is through */
    redo_status(f->redo, &status);
    const uint64_t lines = status.journal.lines;
    struct redo_record record = {.kind = REDO_TOKEN, .id = {.bytes = {9}}};
    assert_int_equal(redo_note(f->redo, &record, &f->r.why), PL_OK);
    redo_status(f->redo, &status);
    assert_int_equal(status.journal.lines, lines);
    stop(f);
    restart_store(f);
    f->fail_at = 0;
    assert_true(start(f));
    assert_int_equal(f->seen_count, 3);
}

static void a_new_database_under_an_old_log_is_a_restored_one(void **state)
{
    struct fixture *f = *state;
    char command[128];
    start(f);
    note_token(f, 1);
    stop(f);
    records_close(&f->r);
    snprintf(command, sizeof(command), "rm -rf %s/store", f->r.f.dir);
    assert_int_equal(system(command), 0);
    records_open(&f->r);
    assert_true(start(f));
    assert_int_equal(f->seen_count, 1);
}

/* ---- the log's side */

static void rename_logs(struct fixture *f, const char *from, const char *to)
{
    char command[256];
    snprintf(command, sizeof(command),
             "cd %s && for n in 1 2; do rm -f redo-$n%s && cp redo-$n%s redo-$n%s; done",
             f->r.f.dir, to, from, to);
    assert_int_equal(system(command), 0);
}

static void a_log_older_than_the_database_is_refused(void **state)
{
    struct fixture *f = *state;
    start(f);
    stop(f);
    rename_logs(f, ".ndjson", ".older");
    start(f);
    note_token(f, 1);
    stop(f);
    rename_logs(f, ".older", ".ndjson");
    assert_int_equal(try_open(f), PL_ECORRUPT);
    assert_non_null(strstr(f->r.why.text, "empty file"));
    /* which is what an operator then may do */
    for (int i = 0; i < 2; i++)
        must(pl_file_replace(f->paths[i], "log", 0600, pl_span(NULL, 0), &f->r.why), &f->r.why);
    /* and nobody can tell whether the database is a copy: edges are to start over, also when this
     * start ends before they are told to */
    must(try_open(f), &f->r.why);
    assert_true(redo_is_restored(f->redo));
    crash(f);
    restart_store(f);
    assert_true(start(f));
    assert_int_equal(f->seen_count, 0);
    assert_false(redo_is_restored(f->redo));
    stop(f);
    restart_store(f);
    assert_false(start(f));
}

static void a_log_of_another_story_is_refused(void **state)
{
    struct fixture *f = *state;
    start(f);
    stop(f);
    rename_logs(f, ".ndjson", ".older");
    copy_store(f);
    start(f);
    note_token(f, 1);
    stop(f);
    rename_logs(f, ".ndjson", ".first");
    restore_store(f);
    rename_logs(f, ".older", ".ndjson");
    f->r.now_ms++;
    start(f);
    note_token(f, 2);
    note_token(f, 3);
    stop(f);
    rename_logs(f, ".ndjson", ".second");
    rename_logs(f, ".first", ".ndjson");
    assert_int_not_equal(try_open(f), PL_OK);
    /* longer than what the database has seen, so only the hash tells */
    rename_logs(f, ".second", ".ndjson");
    must(try_open(f), &f->r.why);
    must(redo_replay(f->redo, apply, f, &f->r.why), &f->r.why);
    stop(f);
    restore_store(f);
    rename_logs(f, ".older", ".ndjson");
    start(f);
    stop(f);
    rename_logs(f, ".second", ".ndjson");
    assert_int_equal(try_open(f), PL_EFORK);
    assert_non_null(strstr(f->r.why.text, "do not belong together"));
}

static void a_log_that_went_missing_stops_the_start(void **state)
{
    struct fixture *f = *state;
    start(f);
    stop(f);
    for (int i = 0; i < 2; i++)
        unlink(f->paths[i]);
    assert_int_equal(try_open(f), PL_ENOTFOUND);
}

static void a_record_of_a_newer_build_is_refused(void **state)
{
    struct fixture *f = *state;
    struct journal_config config = {.paths = f->list,
                                    .path_count = 2,
                                    .what = "redo log",
                                    .max_bytes = 1u << 20,
                                    .clock = &f->r.clock,
                                    .log = &f->r.f.silent};
    struct journal *journal;
    start(f);
    stop(f);
    must(journal_open(&journal, &config, &f->r.why), &f->r.why);
    must(journal_append(journal, PL_SPAN_LIT("{\"kind\":\"wish\"}"), NULL, &f->r.why), &f->r.why);
    journal_close(journal);
    must(try_open(f), &f->r.why);
    assert_int_equal(redo_replay(f->redo, apply, f, &f->r.why), PL_EUNSUPPORTED);
    assert_non_null(strstr(f->r.why.text, "wish"));
}

/* A database that takes nothing must not fill the log with what it refuses. */
static void a_failed_database_does_not_fill_the_log(void **state)
{
    struct fixture *f = *state;
    struct redo_status before, after;
    struct redo_record record = {.kind = REDO_TOKEN, .id = {.bytes = {1}}};
    start(f);
    redo_status(f->redo, &before);
    records_disk(false);
    (void)store_put(f->r.store, FAMILY_META, PL_SPAN_LIT("x"), PL_SPAN_LIT("y"), true, NULL);
    records_disk(true);
    for (int i = 0; i < 20; i++)
        assert_int_not_equal(redo_note(f->redo, &record, &f->r.why), PL_OK);
    redo_status(f->redo, &after);
    assert_in_range(after.journal.lines, before.journal.lines, before.journal.lines + 1);
    records_recover(&f->r);
    note_token(f, 1);
    stop(f);
    restart_store(f);
    assert_false(start(f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ordinary_starts_lack_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restored_database_gets_what_it_lacks, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restore_with_no_change_in_between_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pulse_comes_only_so_often, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_could_not_be_written_is_tried_again_soon, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_copy_of_a_minute_ago_shows, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_between_note_and_change_gets_the_change, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_replay_that_failed_is_begun_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_database_under_an_old_log_is_a_restored_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_log_older_than_the_database_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_of_another_story_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_log_that_went_missing_stops_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_of_a_newer_build_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_database_does_not_fill_the_log, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
