/* What was acknowledged outlives kill -9, and a deletion ends wherever it was killed. Who is killed
 * is this program again: it opens the house itself and closes nothing. */
#include "deletion_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

/* ---- a life: from its start to SIGKILL */

struct life {
    pid_t pid;
    int words;
};

static void write_file(const char *dir, const char *name, struct pl_span bytes)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    assert_int_equal(fclose(file), 0);
}

/* a and b are numbers for the role. */
static struct life begin_life(struct house *house, const char *role, uint64_t a, uint64_t b)
{
    char first[24], second[24];
    int fds[2];
    snprintf(first, sizeof(first), "%llu", (unsigned long long)a);
    snprintf(second, sizeof(second), "%llu", (unsigned long long)b);
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl("/proc/self/exe", "test_kills", role, house->dir, first, second, (char *)NULL);
        _exit(127);
    }
    assert_true(pid > 0);
    close(fds[1]);
    return (struct life){pid, fds[0]};
}

/* The next thing that it acknowledged; false: it is over. */
static bool next_word(const struct life *life, uint64_t word[2])
{
    ssize_t got = read(life->words, word, 16);
    assert_true(got == 0 || got == 16);
    return got == 16;
}

/* True: it came within this time. */
static bool wait_for_word(const struct life *life, int timeout_ms)
{
    struct pollfd fd = {.fd = life->words, .events = POLLIN};
    return poll(&fd, 1, timeout_ms) > 0;
}

/* It ended by SIGKILL and in no other way. */
static void end_life(struct life *life)
{
    int status;
    close(life->words);
    assert_int_equal(waitpid(life->pid, &status, 0), life->pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        fail_msg("it was not killed: status %x", (unsigned)status);
}

/* ---- in such a life */

static void say(uint64_t a, uint64_t b)
{
    const uint64_t word[2] = {a, b};
    assert_int_equal(write(STDOUT_FILENO, word, sizeof(word)), sizeof(word));
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

static void read_signer(struct house *house)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/signer.pem", house->dir);
    must(pl_file_read(path, "signer", false, &house->signer_pem, &house->why), &house->why);
}

/* The step that is recorded; DELETION_STEPS: the account is gone. */
static enum deletion_step recorded_step(struct house *house, uint64_t account)
{
    struct pl_buf record = record_of(house, account);
    enum deletion_step found = DELETION_BEGUN;
    must(pl_buf_terminate(&record), &house->why);
    for (enum deletion_step step = DELETION_BEGUN; step < DELETION_STEPS; step++) {
        char member[64];
        snprintf(member, sizeof(member), "\"step\":\"%s\"", deletion_step_name(step));
        found = strstr((char *)record.data, member) != NULL ? step : found;
    }
    pl_buf_release(&record);
    return state_of(house, account) == ACCOUNT_DELETED ? DELETION_STEPS : found;
}

/* ids: 1 is the edge. The neighbour's and the leaver's are told. */
static void furnish(struct house *house)
{
    struct account neighbour = make_full(house, "neighbour"), account = make_full(house, "leaver");
    (void)enroll(house, 1);
    delete_now(house, account.id);
    say(neighbour.id, account.id);
    die();
}

/* Goes on with the deletion; until_next: till one more step is recorded. What was recorded in
 * earlier lives, least, is so still. */
static void go_on(struct house *house, uint64_t account, uint64_t least, bool until_next)
{
    const struct pl_id128 edge = {.bytes = {[15] = 1}};
    enum deletion_step step = recorded_step(house, account);
    if (step < least)
        fail_msg("step %u was recorded, now it is %u", (unsigned)least, (unsigned)step);
    if (step >= DELETION_KEY)
        assert_false(has_key(house, account));
    say(0, step);
    for (int i = 0; i < TICKS_MAX && step < DELETION_STEPS; i++) {
        lifecycle_tick(house->lifecycle);
        enum deletion_step now = recorded_step(house, account);
        if (now != step)
            say(0, now);
        if (now != step && until_next)
            die();
        step = now;
        edge_settles(house, &edge);
    }
    assert_int_equal(step, DELETION_STEPS);
    lifecycle_tick(house->lifecycle);
    say(1, step);
    die();
}

#define WORDS_MAX 4096 /* a pipe has room for no more */

enum stage { NONE, CREATED, EXPIRED, REINSTATED, HELD, RELEASED, REQUESTED, CONFIRMED, STAGES };

/* One change after another, to one account after another; dies after so many, 0: never. */
static void change_on(struct house *house, uint64_t left)
{
    for (;;) {
        struct account account = {0};
        struct hold hold = {0};
        for (enum stage stage = CREATED; stage < STAGES; stage++) {
            enum pl_err err = PL_OK;
            switch (stage) {
            case CREATED:
                account = new_account(house, "shop");
                break;
            case EXPIRED:
                err = accounts_expire(house->accounts, account.id, 0, &account, &house->why);
                break;
            case REINSTATED:
                err = accounts_reinstate(house->accounts, account.id, START_MS + PL_DAY_MS,
                                         &account, &house->why);
                break;
            case HELD:
                err = accounts_hold(house->accounts, house->holds, account.id,
                                    parse(house, "{\"reason\":\"r\"}"), "t", &hold, &house->why);
                break;
            case RELEASED:
                err = holds_release(house->holds, account.id, &hold.id,
                                    parse(house, "{\"reason\":\"over\"}"), "t", &hold, &house->why);
                break;
            case REQUESTED:
                err = accounts_request_deletion(house->accounts, house->holds, account.id, "r",
                                                &account, &house->why);
                break;
            default:
                err = accounts_confirm_deletion(house->accounts, house->holds, account.id,
                                                &account.request_id, &account, &house->why);
            }
            must(err, &house->why);
            say(account.id, stage);
            if (left > 0 && --left == 0)
                die();
        }
    }
}

static int live(char **argv)
{
    struct house *house = calloc(1, sizeof(*house));
    const uint64_t a = strtoull(argv[3], NULL, 10), b = strtoull(argv[4], NULL, 10);
    snprintf(house->dir, sizeof(house->dir), "%s", argv[2]);
    prepare(house);
    read_signer(house);
    open_house(house, strcmp(argv[1], "furnish") == 0);
    if (strcmp(argv[1], "furnish") == 0)
        furnish(house);
    else if (strcmp(argv[1], "change") == 0)
        change_on(house, a);
    else
        go_on(house, a, b, strcmp(argv[1], "step") == 0);
    return 1;
}

/* ---- the one who looks: opens the house when nobody lives in it */

static int setup_closed(void **state)
{
    struct house *house = calloc(1, sizeof(*house));
    strcpy(house->dir, "/tmp/polder-kills-XXXXXX");
    assert_non_null(mkdtemp(house->dir));
    prepare(house);
    assert_int_equal(pl_pki_new_key(pl_random_system(), &house->signer_pem), PL_OK);
    write_file(house->dir, "signer.pem", pl_buf_span(&house->signer_pem));
    *state = house;
    return 0;
}

static int teardown_closed(void **state)
{
    clear_away(*state);
    return 0;
}

struct leaving {
    uint64_t neighbour, account;
    struct pl_buf before; /* what the neighbour had */
};

static struct leaving begin_leaving(struct house *house)
{
    uint64_t ids[2];
    struct life life = begin_life(house, "furnish", 0, 0);
    assert_true(next_word(&life, ids));
    end_life(&life);
    open_house(house, false);
    struct leaving leaving = {ids[0], ids[1], picture_of(house, ids[0])};
    assert_int_equal(state_of(house, leaving.account), ACCOUNT_DELETING);
    close_house(house);
    return leaving;
}

static void assert_neighbour_is_whole(struct house *house, const struct leaving *leaving)
{
    struct pl_buf now = picture_of(house, leaving->neighbour);
    assert_true(has_key(house, leaving->neighbour));
    assert_true(now.len > 100);
    assert_true(pl_span_eq(pl_buf_span(&now), pl_buf_span(&leaving->before)));
    pl_buf_release(&now);
}

/* Deleted, with one certificate, that another life does not replace. */
static void assert_left(struct house *house, struct leaving *leaving)
{
    uint64_t word[2];
    open_house(house, false);
    struct pl_buf certificate = certificate_of(house, leaving->account);
    close_house(house);
    struct life life = begin_life(house, "delete", leaving->account, DELETION_STEPS);
    while (next_word(&life, word))
        assert_int_equal(word[1], DELETION_STEPS);
    end_life(&life);

    open_house(house, false);
    assert_int_equal(state_of(house, leaving->account), ACCOUNT_DELETED);
    assert_int_equal(rows_left(house, leaving->account), 0);
    assert_false(has_key(house, leaving->account));
    assert_int_equal(rows_between(house, FAMILY_CERTIFICATES, pl_span(NULL, 0), pl_span(NULL, 0)),
                     1);
    struct pl_buf again = certificate_of(house, leaving->account);
    assert_same(&certificate, &again);
    assert_neighbour_is_whole(house, leaving);
    pl_buf_release(&leaving->before);
    close_house(house);
}

/* ---- deletion */

static void killed_after_each_step_it_goes_on(void **state)
{
    struct house *house = *state;
    struct leaving leaving = begin_leaving(house);
    uint64_t word[2] = {0, DELETION_BEGUN};
    unsigned lives = 0;
    for (; word[1] < DELETION_STEPS && lives < 12; lives++) {
        const uint64_t was = word[1];
        struct life life = begin_life(house, "step", leaving.account, was);
        while (next_word(&life, word))
            continue;
        end_life(&life);
        assert_int_equal(word[1], was + 1); /* each step has its record */
        open_house(house, false);
        assert_int_equal(recorded_step(house, leaving.account), word[1]);
        if (word[1] >= DELETION_KEY)
            assert_false(has_key(house, leaving.account));
        assert_int_equal(has_certificate(house, leaving.account), word[1] >= DELETION_CERTIFIED);
        assert_neighbour_is_whole(house, &leaving);
        close_house(house);
    }
    assert_int_equal(lives, DELETION_STEPS);
    assert_left(house, &leaving);
}

/* Later and later within a step until that is done. Nobody looks between those lives, for that
 * would close what they left open. */
static void killed_at_any_moment_it_goes_on(void **state)
{
    struct house *house = *state;
    struct leaving leaving = begin_leaving(house);
    uint64_t done = DELETION_BEGUN;
    useconds_t delay_us = 400;
    unsigned within = 0;
    bool ended = false;
    for (unsigned i = 0; i < 60 && !ended; i++) {
        const uint64_t was = done;
        uint64_t word[2];
        struct life life = begin_life(house, "delete", leaving.account, done);
        if (i % 7 > 0) /* else while the house opens */
            wait_for_word(&life, 20000);
        usleep(delay_us);
        kill(life.pid, SIGKILL);
        while (next_word(&life, word)) {
            assert_true(word[1] >= done);
            done = word[1];
            ended = word[0] == 1;
        }
        within += !ended;
        end_life(&life);
        delay_us = done > was ? 400 + 150 * i : delay_us * 4;
    }
    assert_true(ended);
    assert_true(within > 2);
    assert_left(house, &leaving);
}

/* ---- changes of accounts */

static enum stage stage_of(struct house *house, uint64_t id)
{
    struct hold hold[HOLDS_ACCOUNT_MAX];
    struct account account;
    if (accounts_get(house->accounts, id, &account) != PL_OK)
        return NONE;
    const size_t holds = holds_of(house->holds, id, hold);
    if (account.state == ACCOUNT_DELETING)
        return CONFIRMED;
    if (account_state_at(&account, house->now_ms) == ACCOUNT_EXPIRED)
        return EXPIRED;
    if (account.requested_ms != 0)
        return REQUESTED;
    if (holds > 0)
        return hold_stands(&hold[0], house->now_ms) ? HELD : RELEASED;
    return account.expires_at_ms != 0 ? REINSTATED : CREATED;
}

/* What was acknowledged is so, of all accounts that were told of; what was under way may be. */
static void assert_changed(struct house *house, const uint64_t (*words)[2], size_t count)
{
    open_house(house, false);
    for (size_t i = 0; i < count; i++) {
        const bool last = i == count - 1;
        const enum stage stage = stage_of(house, words[i][0]);
        if (!last && words[i + 1][0] == words[i][0])
            continue;
        if (stage != words[i][1] && !(last && stage == words[i][1] + 1))
            fail_msg("stage %u was acknowledged, it is %u", (unsigned)words[i][1], (unsigned)stage);
    }
    close_house(house);
}

static void make_empty(struct house *house)
{
    open_house(house, true);
    close_house(house);
}

static void killed_after_a_change_it_is_there(void **state)
{
    struct house *house = *state;
    make_empty(house);
    for (enum stage stage = CREATED; stage < STAGES; stage++) {
        uint64_t word[2] = {0};
        struct life life = begin_life(house, "change", stage, 0);
        while (next_word(&life, word))
            continue;
        end_life(&life);
        assert_int_equal(word[1], stage);
        open_house(house, false);
        assert_int_equal(stage_of(house, word[0]), stage);
        close_house(house);
    }
}

static void killed_within_a_change_those_before_are_there(void **state)
{
    struct house *house = *state;
    make_empty(house);
    for (unsigned i = 0; i < 12; i++) {
        uint64_t words[WORDS_MAX][2];
        size_t count = 0;
        struct life life = begin_life(house, "change", 0, 0);
        assert_true(wait_for_word(&life, 20000));
        usleep(700 * i + 137);
        kill(life.pid, SIGKILL);
        while (count < WORDS_MAX && next_word(&life, words[count]))
            count++;
        end_life(&life);
        assert_in_range(count, 1, WORDS_MAX - 1);
        assert_changed(house, (const uint64_t(*)[2])words, count);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, setup_closed, teardown_closed)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        T(killed_after_each_step_it_goes_on),
        T(killed_at_any_moment_it_goes_on),
        T(killed_after_a_change_it_is_there),
        T(killed_within_a_change_those_before_are_there),
    };
    return argc > 1 ? live(argv) : cmocka_run_group_tests(tests, NULL, NULL);
}
