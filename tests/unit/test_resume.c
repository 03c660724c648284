/* The engine takes up a job that earlier runs began. */
#include "world.h"

enum { EXECUTIONS = 8 };

struct past {
    uint8_t status[EXECUTIONS];
    struct begun begun[EXECUTIONS];
    struct job_past past;
};

static void add(struct past *p, struct begun b)
{
    b.cost = (double)NAN;
    if (!b.posts)
        b.posts = b.attempts;
    if (b.status != STATUS_WAITING_RESULT)
        b.dispatched_at = b.first_byte_at = (double)NAN;
    p->status[b.n] = (uint8_t)b.status;
    p->begun[p->past.begun_count++] = b;
    p->past.posts += b.posts;
    p->past.hops += b.hops;
    p->past.attempts += b.attempts;
}

static struct world *world_with(struct past *p, unsigned endpoints)
{
    struct world *w = world_new(1, endpoints, EXECUTIONS / endpoints);
    p->past.status = p->status;
    p->past.begun = p->begun;
    p->past.cost = (double)NAN;
    w->past = &p->past;
    return w;
}

static void run_to_end(struct world *w)
{
    world_start(w);
    world_run(w);
    world_check_ended(w);
}

static void what_has_ended_is_not_asked_again(void **state)
{
    (void)state;
    for (int policy = 0; policy <= 2; policy++) {
        struct past p = {.status = {STATUS_SUCCEEDED, STATUS_FAILED, STATUS_SUCCEEDED, STATUS_PENDING,
                                    STATUS_CANCELLED, STATUS_SKIPPED, STATUS_PENDING, STATUS_SUCCEEDED},
                         .past = {.posts = 4, .attempts = 4}};
        struct world *w = world_with(&p, 2);
        w->policy = policy;
        run_to_end(w);
        struct job_view v = world_view(w);
        assert_int_equal(w->posts, 2);
        assert_int_equal(w->began_rows, 2);
        assert_int_equal(v.posts, 6);
        assert_int_equal(v.tally.by_status[STATUS_SUCCEEDED], 5);
        assert_int_equal(v.state, JOB_PARTIAL);
        world_free(w);
    }
}

static void all_that_was_open_has_ended(void **state)
{
    (void)state;
    struct past p = {.past = {.posts = 8, .attempts = 8}};
    memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
    struct world *w = world_with(&p, 2);
    run_to_end(w);
    assert_int_equal(w->sent, 0);
    assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
    world_free(w);
}

static void answer_of_a_result_url(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (x->post)
        fail_msg("a POST while a result URL lives");
    assert_string_equal(x->url, "http://h/r0/result");
    assert_int_equal(x->body.len, 0);
    out->takes_us = 10 * MINUTE_US; /* the deadline counts anew */
}

static void a_result_url_is_collected_without_a_post(void **state)
{
    (void)state;
    for (int policy = 0; policy <= 2; policy++) {
        struct past p = {.past = {.posts = 7, .attempts = 7}};
        memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
        add(&p, (struct begun){.n = 5, .status = STATUS_WAITING_RESULT, .attempts = 2, .hops = 3, .attempt_hops = 2,
                               .result_url = "http://h/r0/result", .dispatched_at = -90000, .first_byte_at = -89000});
        struct world *w = world_with(&p, 2);
        w->table->endpoints[1].hop_us = 12 * MINUTE_US;
        w->policy = policy;
        w->respond = answer_of_a_result_url;
        run_to_end(w);
        assert_int_equal(w->gets, 1);
        assert_int_equal(w->began_rows, 0);
        assert_int_equal(w->row_posts[5], 2);
        assert_int_equal(w->row_hops[5], 4);
        assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
        assert_true(world_view(w).first_dispatch_us > 0);
        world_free(w);
    }
}

static void what_was_promised_goes_first_and_takes_a_permit(void **state)
{
    (void)state;
    struct past p = {.past = {0}};
    for (unsigned n = 4; n < 8; n++)
        add(&p, (struct begun){.n = n, .status = STATUS_WAITING_RESULT, .attempts = 1,
                               .result_url = "http://h/r0/result"});
    struct world *w = world_with(&p, 1);
    run_to_end(w); /* checks that no endpoint had more than one in flight */
    assert_int_equal(w->gets, 4);
    assert_int_equal(w->posts, 4);
    assert_memory_equal(w->log, "+4 +5 -4 +6 -5 +7 -6 -7 +0", 26);
    world_free(w);
}

static void gone(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    if (!x->post)
        out->status = 404;
}

static void a_dead_result_url_ends_the_attempt(void **state)
{
    (void)state;
    struct past p = {.past = {0}};
    memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
    add(&p, (struct begun){.n = 0, .status = STATUS_WAITING_RESULT, .attempts = 1,
                           .result_url = "http://h/r0/result"});
    struct world *w = world_with(&p, 1);
    w->respond = gone;
    run_to_end(w);
    assert_int_equal(w->gets, 1);
    assert_true(w->ended_rows >= 1);
    assert_int_equal(w->began_rows, w->posts); /* as the rules say of the attempt's end */
    world_free(w);
}

static void gone_and_asked_in_its_turn(struct world *w, const struct exchange *x, struct reply *out)
{
    if (!x->post)
        out->status = 410;
    else if (strstr(x->trace_id, ".5."))
        assert_non_null(strstr(w->log, "-3")); /* the question before it has ended */
}

static void a_new_post_waits_for_the_policy(void **state)
{
    (void)state;
    for (unsigned failures = 0; failures < 2; failures++) { /* 1: what is gone opens the breaker, too */
        struct past p = {.past = {0}};
        memset(p.status, failures ? STATUS_SUCCEEDED : STATUS_PENDING, 4);
        add(&p, (struct begun){.n = 4, .status = STATUS_WAITING_RESULT, .attempts = 1,
                               .result_url = "http://h/r0/result"});
        struct world *w = world_with(&p, 1);
        w->table->endpoints[0].retry.unknown = true;
        w->table->endpoints[0].breaker = (struct breaker_rule){failures, MINUTE_US, 30 * SECOND_US};
        w->policy = failures ? 5 : 1; /* all after a nap, or question by question */
        w->respond = failures ? gone : gone_and_asked_in_its_turn;
        run_to_end(w);
        assert_int_equal(w->gets, 1);
        assert_int_equal(w->row_posts[4], 2);
        assert_int_equal(w->row_hops[4], 1);
        assert_int_equal(world_view(w).state, JOB_SUCCEEDED);
        world_free(w);
    }
}

/* A policy that never asks for it leaves it as it is: its last failure stands. */
static void what_the_policy_does_not_want_is_not_posted(void **state)
{
    (void)state;
    struct past p = {.past = {0}};
    memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
    add(&p, (struct begun){.n = 4, .status = STATUS_WAITING_RESULT, .attempts = 1,
                           .result_url = "http://h/r0/result"});
    struct world *w = world_with(&p, 1);
    w->table->endpoints[0].retry.unknown = true;
    w->policy = 4; /* ends at once */
    w->respond = gone;
    run_to_end(w);
    assert_int_equal(w->posts, 0);
    assert_int_equal(world_view(w).tally.by_status[STATUS_FAILED], 1);
    world_free(w);
}

static void an_unknown_outcome_is_asked_again_only_if_allowed(void **state)
{
    (void)state;
    static const struct {
        bool unknown;
        unsigned attempts, forgiven, posts;
    } cases[] = {{false, 1, 0, 0}, {true, 1, 0, 1}, {true, 3, 0, 1}, {true, 4, 0, 0}, {true, 4, 2, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct past p = {.past = {.posts = 7, .attempts = 7}};
        memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
        add(&p, (struct begun){.n = 3, .status = STATUS_RUNNING, .attempts = cases[i].attempts,
                               .forgiven = cases[i].forgiven});
        struct world *w = world_with(&p, 2);
        w->policy = 1;
        w->table->endpoints[1].retry.unknown = cases[i].unknown;
        run_to_end(w);
        assert_int_equal(w->posts, cases[i].posts);
        assert_int_equal(w->row_status[3], cases[i].posts ? STATUS_SUCCEEDED : STATUS_FAILED);
        assert_int_equal(w->row_class[3], cases[i].posts ? CLASS_NONE : CLASS_UNKNOWN_OUTCOME);
        assert_int_equal(w->row_posts[3], cases[i].attempts + cases[i].posts);
        world_free(w);
    }
}

static void fails(struct world *w, const struct exchange *x, struct reply *out)
{
    (void)w;
    (void)x;
    out->status = 500;
}

static void attempts_count_on(void **state)
{
    (void)state;
    static const struct {
        unsigned attempts, forgiven, posts;
    } cases[] = {{0, 0, 4}, {2, 0, 2}, {4, 4, 4}, {6, 4, 2}, {9, 0, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct past p = {.past = {.posts = 7, .attempts = 7}};
        memset(p.status, STATUS_SUCCEEDED, sizeof p.status);
        p.status[2] = STATUS_PENDING;
        if (cases[i].attempts)
            add(&p, (struct begun){.n = 2, .status = STATUS_PENDING, .attempts = cases[i].attempts,
                                   .forgiven = cases[i].forgiven});
        struct world *w = world_with(&p, 2);
        w->respond = fails;
        run_to_end(w);
        assert_int_equal(w->posts, cases[i].posts);
        assert_int_equal(w->row_posts[2], cases[i].attempts + cases[i].posts);
        world_free(w);
    }
}

static void stopped_again(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        struct past p = {.past = {0}};
        add(&p, (struct begun){.n = 0, .status = STATUS_WAITING_RESULT, .attempts = 1,
                               .result_url = "http://h/r0/result"});
        add(&p, (struct begun){.n = 2, .status = STATUS_RUNNING, .attempts = 1});
        add(&p, (struct begun){.n = 4, .status = STATUS_PENDING, .attempts = 1});
        struct world *w = world_with(&p, 2);
        if (how >= 2) { /* nothing starts: its endpoint is paused, and the job does not wait or is stopped */
            w->table->endpoints[0].paused = "broken";
            w->spec->on_missing = how == 2 ? ON_MISSING_SKIP : ON_MISSING_WAIT;
        }
        world_start(w);
        if (how == 2)
            world_run(w);
        for (unsigned i = 0; how == 3 && i < 20; i++)
            world_step(w);
        if (how != 2)
            engine_stop(w->job, how == 1 ? STOP_DRAIN : STOP_ABORT, JOB_CANCELLED, "interrupted");
        world_run(w);
        world_check_ended(w);
        assert_int_equal(w->row_status[0], how == 2 ? STATUS_SKIPPED : STATUS_CANCELLED);
        assert_int_equal(w->row_status[2], STATUS_FAILED);
        assert_int_equal(w->row_status[4], how == 2 ? STATUS_SKIPPED : STATUS_CANCELLED);
        assert_int_equal(w->gets, 0);
        world_free(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_ended_is_not_asked_again),
        cmocka_unit_test(all_that_was_open_has_ended),
        cmocka_unit_test(a_result_url_is_collected_without_a_post),
        cmocka_unit_test(what_was_promised_goes_first_and_takes_a_permit),
        cmocka_unit_test(a_dead_result_url_ends_the_attempt),
        cmocka_unit_test(a_new_post_waits_for_the_policy),
        cmocka_unit_test(what_the_policy_does_not_want_is_not_posted),
        cmocka_unit_test(an_unknown_outcome_is_asked_again_only_if_allowed),
        cmocka_unit_test(attempts_count_on),
        cmocka_unit_test(stopped_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
