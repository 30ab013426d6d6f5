#include "proto/base/mailbox.h"

#include "proto/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct letter {
    struct pl_mail mail; /* first, so that a mail is its letter */
    int sender, number;
};

static void mail_comes_in_the_order_it_was_posted(void **state)
{
    (void)state;
    struct pl_mailbox box;
    struct letter letters[3];
    pl_mailbox_init(&box);
    assert_null(pl_mailbox_take(&box, 0));
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            assert_true(pl_mailbox_post(&box, &letters[i].mail));
        struct pl_mail *mail = pl_mailbox_take(&box, -1);
        for (int i = 0; i < 3; i++, mail = mail->next)
            assert_ptr_equal(mail, &letters[i].mail);
        assert_null(mail);
    }
    pl_mailbox_release(&box);
}

static void waiting_ends_by_time_wake_or_close(void **state)
{
    (void)state;
    struct pl_mailbox box;
    struct letter letter;
    pl_mailbox_init(&box);
    int64_t start = pl_mono_ms(pl_clock_system());
    assert_null(pl_mailbox_take(&box, 30));
    assert_true(pl_mono_ms(pl_clock_system()) - start >= 29);
    pl_mailbox_wake(&box); /* before the reader waits: not lost */
    assert_null(pl_mailbox_take(&box, -1));
    start = pl_mono_ms(pl_clock_system());
    assert_null(pl_mailbox_take(&box, 30)); /* one wake, one return */
    assert_true(pl_mono_ms(pl_clock_system()) - start >= 29);
    assert_true(pl_mailbox_post(&box, &letter.mail));
    assert_false(pl_mailbox_closed(&box));
    pl_mailbox_close(&box);
    assert_true(pl_mailbox_closed(&box));
    assert_false(pl_mailbox_post(&box, &letter.mail));
    assert_ptr_equal(pl_mailbox_take(&box, -1), &letter.mail); /* posted before the close */
    assert_null(pl_mailbox_take(&box, -1));
    pl_mailbox_release(&box);
}

enum { SENDERS = 4, LETTERS = 2000 };

struct sender {
    pthread_t thread;
    struct pl_mailbox *box;
    struct letter letters[LETTERS];
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < LETTERS; i++)
        if (!pl_mailbox_post(s->box, &s->letters[i].mail))
            abort();
    return NULL;
}

static void many_senders_lose_nothing_and_keep_their_order(void **state)
{
    (void)state;
    static struct sender senders[SENDERS];
    struct pl_mailbox box;
    int next[SENDERS] = {0}, received = 0;
    pl_mailbox_init(&box);
    for (int s = 0; s < SENDERS; s++) {
        senders[s].box = &box;
        for (int i = 0; i < LETTERS; i++)
            senders[s].letters[i] = (struct letter){.sender = s, .number = i};
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
    }
    while (received < SENDERS * LETTERS) {
        struct pl_mail *mail = pl_mailbox_take(&box, 10000);
        assert_non_null(mail);
        for (; mail != NULL; mail = mail->next, received++) {
            struct letter *letter = (struct letter *)(void *)mail;
            assert_int_equal(letter->number, next[letter->sender]);
            next[letter->sender]++;
        }
    }
    for (int s = 0; s < SENDERS; s++)
        pthread_join(senders[s].thread, NULL);
    assert_null(pl_mailbox_take(&box, 0));
    pl_mailbox_release(&box);
}

struct table_tennis {
    struct pl_mailbox there, back;
};

static void *hit_back(void *arg)
{
    struct table_tennis *t = arg;
    struct pl_mail *ball;
    while ((ball = pl_mailbox_take(&t->there, -1)) != NULL)
        (void)pl_mailbox_post(&t->back, ball);
    return NULL;
}

static void one_mail_wakes_a_waiting_reader_at_once(void **state)
{
    (void)state;
    struct table_tennis t;
    struct letter ball;
    pthread_t player;
    pl_mailbox_init(&t.there);
    pl_mailbox_init(&t.back);
    assert_int_equal(pthread_create(&player, NULL, hit_back, &t), 0);
    int64_t start = pl_mono_ms(pl_clock_system());
    for (int i = 0; i < 200; i++) {
        assert_true(pl_mailbox_post(&t.there, &ball.mail));
        assert_non_null(pl_mailbox_take(&t.back, 60000));
    }
    assert_true(pl_mono_ms(pl_clock_system()) - start < 30000);
    pl_mailbox_close(&t.there);
    pthread_join(player, NULL);
    pl_mailbox_release(&t.there);
    pl_mailbox_release(&t.back);
}

static void *close_it(void *arg)
{
    pl_mailbox_close(arg);
    return NULL;
}

static void closing_wakes_a_waiting_reader(void **state)
{
    (void)state;
    struct pl_mailbox box;
    pthread_t closer;
    pl_mailbox_init(&box);
    assert_int_equal(pthread_create(&closer, NULL, close_it, &box), 0);
    assert_null(pl_mailbox_take(&box, -1));
    assert_true(pl_mailbox_closed(&box));
    pthread_join(closer, NULL);
    pl_mailbox_release(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mail_comes_in_the_order_it_was_posted),
        cmocka_unit_test(waiting_ends_by_time_wake_or_close),
        cmocka_unit_test(many_senders_lose_nothing_and_keep_their_order),
        cmocka_unit_test(one_mail_wakes_a_waiting_reader_at_once),
        cmocka_unit_test(closing_wakes_a_waiting_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
