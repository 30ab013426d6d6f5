/* The redo log does not fill up: what no copy needs goes, and opt-outs leave room for the rest. */
#include "origin/accounts/suppressions.h"
#include "redo_fixture.h"

#define DAYS 30

static enum pl_err note_text(struct fixture *f, uint8_t id, size_t bytes)
{
    struct pl_buf row;
    pl_buf_init(&row, 1u << 20);
    while (row.len < bytes)
        assert_int_equal(pl_buf_put_u8(&row, 'x'), PL_OK);
    const struct redo_record record = {
        .kind = REDO_TOKEN, .id = {.bytes = {id}}, .row = pl_buf_span(&row)};
    enum pl_err err = redo_note(f->redo, &record, &f->r.why);
    pl_buf_release(&row);
    return err;
}

/* Over two MiB in 600 lines. */
static void fill(struct fixture *f)
{
    for (int i = 0; i < 600; i++)
        must(note_text(f, 1, 3000), &f->r.why);
    must(store_sync(f->r.store, &f->r.why), &f->r.why);
}

static struct redo_status status_of(struct fixture *f)
{
    struct redo_status status;
    redo_status(f->redo, &status);
    return status;
}

static uint64_t bytes_after_pulse(struct fixture *f, bool believed)
{
    redo_pulse(f->redo, 0, believed ? f->r.now_ms : 0);
    return status_of(f).journal.bytes;
}

/* ---- trimming */

static void what_no_copy_needs_goes(void **state)
{
    struct fixture *f = *state;
    f->config.backup_days = DAYS;
    start(f);
    copy_store(f);
    fill(f);
    const uint64_t full = status_of(f).journal.bytes;
    f->r.now_ms += (DAYS + 1) * PL_DAY_MS - PL_MINUTE_MS;
    assert_true(bytes_after_pulse(f, true) >= full); /* a copy of then may be restored yet */
    f->r.now_ms += 2 * REDO_TRIM_MS;
    assert_true(bytes_after_pulse(f, false) >= full); /* who knows what time it is */
    assert_true(bytes_after_pulse(f, true) < full / 2);
    note_token(f, 7);
    stop(f);
    restart_store(f);
    assert_false(start(f));
    assert_true(status_of(f).journal.bytes < full / 2);
    stop(f);

    /* that copy is too old by now */
    restore_store(f);
    assert_int_equal(try_open(f), PL_ECORRUPT);
    assert_non_null(strstr(f->r.why.text, "backup_days"));
    assert_non_null(strstr(f->r.why.text, "empty file"));
    for (int i = 0; i < 2; i++)
        must(pl_file_replace(f->paths[i], "log", 0600, pl_span(NULL, 0), &f->r.why), &f->r.why);
    assert_true(
        start(f)); /* of a database beside an empty log nothing is known: once it begins anew */
    stop(f);
    assert_false(start(f));
}

static void a_copy_that_is_young_enough_is_restored_from_a_trimmed_log(void **state)
{
    struct fixture *f = *state;
    f->config.backup_days = DAYS;
    start(f);
    fill(f);
    f->r.now_ms += 2 * PL_DAY_MS;
    copy_store(f);
    note_token(f, 7);
    f->r.now_ms += DAYS * PL_DAY_MS;
    const uint64_t full = status_of(f).journal.bytes;
    assert_true(bytes_after_pulse(f, true) < full);
    stop(f);
    restore_store(f);
    assert_true(start(f));
    assert_true(f->seen_count > 0);
    assert_int_equal(f->seen[f->seen_count - 1].id.bytes[0], 7);
}

static void a_database_that_saw_the_last_line_that_went_is_current(void **state)
{
    struct fixture *f = *state;
    struct journal_config config = {.paths = f->list,
                                    .path_count = 2,
                                    .what = "redo log",
                                    .trimmed = true,
                                    .max_bytes = 16u << 20,
                                    .clock = &f->r.clock,
                                    .log = &f->r.f.silent};
    struct journal *journal;
    struct journal_mark base;
    uint64_t cut;
    f->config.backup_days = DAYS;
    start(f);
    while (status_of(f).journal.lines < 255)
        must(note_text(f, 1, 10), &f->r.why);
    stop(f); /* line 256 */
    f->r.now_ms += PL_DAY_MS;
    must(journal_open(&journal, &config, &f->r.why), &f->r.why);
    for (int i = 0; i < 2; i++)
        must(journal_append(journal, PL_SPAN_LIT("{\"kind\":\"token_revoked\"}"), NULL, &f->r.why),
             &f->r.why);
    must(journal_trim(journal, f->r.now_ms + 1, 1, &cut, &f->r.why), &f->r.why);
    journal_base(journal, &base);
    journal_close(journal);
    assert_int_equal(base.n, 256);
    assert_true(start(f)); /* it lacks the two */
    assert_int_equal(f->seen_count, 2);
}

static void a_new_database_under_a_trimmed_log_is_refused(void **state)
{
    struct fixture *f = *state;
    char command[128];
    f->config.backup_days = DAYS;
    start(f);
    fill(f);
    f->r.now_ms += (DAYS + 2) * PL_DAY_MS;
    bytes_after_pulse(f, true);
    stop(f);
    records_close(&f->r);
    snprintf(command, sizeof(command), "rm -rf %s/store", f->r.f.dir);
    assert_int_equal(system(command), 0);
    records_open(&f->r);
    assert_int_equal(try_open(f), PL_ECORRUPT);
    assert_non_null(strstr(f->r.why.text, "begin anew"));
}

/* ---- the reserve */

struct people {
    struct fixture *f;
    struct changelog *changelog;
    struct suppressions *suppressions;
};

static void meet(struct people *p, struct fixture *f)
{
    p->f = f;
    f->config.max_bytes = 100000; /* 75000 of them for opt-outs */
    start(f);
    must(changelog_open(&p->changelog, f->r.store, pl_random_system(), &f->r.why), &f->r.why);
    const struct suppressions_config config = {
        .store = f->r.store, .changelog = p->changelog, .redo = f->redo};
    must(suppressions_open(&p->suppressions, &config, &f->r.why), &f->r.why);
}

static void part(struct people *p)
{
    suppressions_close(p->suppressions);
    changelog_close(p->changelog);
}

static void say_no(struct people *p, uint16_t who)
{
    struct suppression said = {.account = 7, .since_ms = p->f->r.now_ms, .active = true};
    pl_store_u16(said.consent_id.bytes, who);
    pl_store_u16(said.id_hash, who);
    must(suppressions_record(p->suppressions, &said, &p->f->r.why), &p->f->r.why);
}

/* Until there is no room for them, and three more. */
static uint16_t say_no_often(struct people *p)
{
    uint16_t who = 1;
    while (status_of(p->f).late_ms == 0) {
        assert_in_range(who, 1, 500);
        say_no(p, who++);
    }
    p->f->r.now_ms += PL_HOUR_MS;
    for (int i = 0; i < 3; i++)
        say_no(p, who++);
    return (uint16_t)(who - 1);
}

static bool was_seen(const struct fixture *f, uint16_t who)
{
    for (size_t i = 0; i < f->seen_count; i++)
        if (pl_load_u16(f->seen[i].id.bytes) == who)
            return true;
    return false;
}

static void optouts_leave_room_for_the_rest(void **state)
{
    struct fixture *f = *state;
    struct people p;
    meet(&p, f);
    const int64_t began_ms = f->r.now_ms;
    const uint16_t last = say_no_often(&p);
    struct redo_status status = status_of(f);
    assert_true(status.nearly_full);
    assert_true(status.journal.bytes <= 75000);
    assert_int_equal(status.late_ms, began_ms);
    assert_int_equal(count_rows(&f->r, FAMILY_SUPPRESSIONS), last); /* they count at once */
    assert_int_equal(changelog_position(p.changelog), last);
    for (int i = 0; i < 20; i++)
        must(note_text(f, 1, 100), &f->r.why);
    /* over a restart it is known still */
    part(&p);
    crash(f);
    restart_store(f);
    assert_false(start(f));
    assert_int_equal(status_of(f).late_ms, began_ms);
}

static void they_are_noted_when_there_is_room(void **state)
{
    struct fixture *f = *state;
    struct people p;
    meet(&p, f);
    copy_store(f);
    const uint16_t last = say_no_often(&p);
    redo_pulse(f->redo, 0, 0);
    assert_true(status_of(f).late_ms != 0); /* there is none yet */
    part(&p);
    stop(f);
    f->config.max_bytes = 200000;
    restart_store(f);
    start(f);
    assert_true(status_of(f).late_ms != 0);
    for (int i = 0; i < 4; i++)
        redo_pulse(f->redo, 0, 0);
    assert_int_equal(status_of(f).late_ms, 0);
    stop(f);
    restart_store(f);
    start(f);
    assert_int_equal(status_of(f).late_ms, 0);
    stop(f);
    restore_store(f);
    assert_true(start(f));
    for (uint16_t who = (uint16_t)(last - 5); who <= last; who++)
        assert_true(was_seen(f, who));
}

/* One that is taken back meanwhile, and one whose account is gone. */
static void what_is_noted_late_is_how_it_stands_then(void **state)
{
    struct fixture *f = *state;
    struct people p;
    struct store_batch *batch;
    uint8_t key[SUPPRESSION_KEY_BYTES];
    meet(&p, f);
    copy_store(f);
    const uint16_t last = say_no_often(&p);
    struct suppression said = {.account = 7, .since_ms = f->r.now_ms};
    pl_store_u16(said.consent_id.bytes, last);
    must(suppressions_record(p.suppressions, &said, &f->r.why), &f->r.why);
    pl_store_u16(said.consent_id.bytes, (uint16_t)(last - 1));
    suppression_key(&said, key);
    must(store_batch_new(&batch), &f->r.why);
    store_batch_delete(batch, f->r.store, FAMILY_SUPPRESSIONS, pl_span(key, sizeof(key)));
    must(store_write(f->r.store, batch, true, &f->r.why), &f->r.why);
    store_batch_free(batch);
    part(&p);
    stop(f);
    f->config.max_bytes = 200000;
    restart_store(f);
    start(f);
    for (int i = 0; i < 4; i++)
        redo_pulse(f->redo, 0, 0);
    assert_int_equal(status_of(f).late_ms, 0);
    stop(f);
    restore_store(f);
    assert_true(start(f));
    assert_false(was_seen(f, (uint16_t)(last - 1)));
    assert_true(was_seen(f, last));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_no_copy_needs_goes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_that_is_young_enough_is_restored_from_a_trimmed_log,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_database_that_saw_the_last_line_that_went_is_current,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_database_under_a_trimmed_log_is_refused, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(optouts_leave_room_for_the_rest, setup, teardown),
        cmocka_unit_test_setup_teardown(they_are_noted_when_there_is_room, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_noted_late_is_how_it_stands_then, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
