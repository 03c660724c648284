/* The live table: whatever the job and the terminal, it fits and says what it must. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/random.h"
#include "base/text.h"
#include "base/timeutil.h"
#include "cli/frame.h"
#include "host/eta.h"

enum { MODELS = 3, REGIONS = 3, ENDPOINTS = MODELS * REGIONS, QUESTIONS_MAX = 60 };

/* A job of some questions on nine endpoints, at any point of its life. */
struct stage {
    struct region_table table;
    struct region_spec regions[REGIONS];
    struct endpoint_spec specs[ENDPOINTS];
    struct job_spec spec;
    struct question questions[QUESTIONS_MAX];
    char ids[QUESTIONS_MAX][32];
    uint32_t indexes[ENDPOINTS];
    struct plan plan;
    struct question_tally question_tallies[QUESTIONS_MAX];
    struct endpoint_tally endpoint_tallies[ENDPOINTS];
    struct endpoint_view endpoints[ENDPOINTS];
    uint32_t questions_ended[REGIONS];
    struct job_view view;
    struct frame_input input;
};

static const char *const region_ids[REGIONS] = {"us", "eu", "asia"};
static const char *const endpoint_ids[ENDPOINTS] = {
    "us/llama3.2-1b", "us/mistral-7b", "us/qwen2.5-1.5b", "eu/llama3.2-1b", "eu/mistral-7b", "eu/qwen2.5-1.5b",
    "asia/llama3.2-1b", "asia/mistral-7b", "asia/qwen2.5-1.5b",
};

static void set_up(struct stage *s, uint32_t questions)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < REGIONS; i++)
        s->regions[i].id = region_ids[i];
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        s->specs[i] = (struct endpoint_spec){.index = i, .region = i / MODELS, .id = endpoint_ids[i], .slots = 1};
        s->endpoints[i] = (struct endpoint_view){.spec = &s->specs[i], .limit = 1, .cold = true};
        s->endpoint_tallies[i].tally.planned = s->endpoint_tallies[i].tally.by_status[STATUS_PENDING] = questions;
        s->indexes[i] = i;
    }
    for (uint32_t q = 0; q < questions; q++) {
        snprintf(s->ids[q], sizeof s->ids[q], "question_%02u", q + 1);
        s->questions[q].id = s->ids[q];
        struct tally *t = &s->question_tallies[q].tally;
        t->planned = t->by_status[STATUS_PENDING] = ENDPOINTS;
    }
    s->table = (struct region_table){.endpoints = s->specs, .endpoint_count = ENDPOINTS, .regions = s->regions,
                                     .region_count = REGIONS};
    s->spec = (struct job_spec){.questions = s->questions, .question_count = questions};
    s->plan = (struct plan){.job = &s->spec, .table = &s->table, .question_count = questions, .sample_count = 1,
                            .endpoint_count = ENDPOINTS, .endpoints = s->indexes, .count = questions * ENDPOINTS};
    s->view = (struct job_view){.id = "bias-detection-3", .state = JOB_RUNNING, .plan = &s->plan,
                                .questions = s->question_tallies, .endpoints = s->endpoint_tallies,
                                .first_dispatch_us = SECOND_US, .max_in_flight = ENDPOINTS, .cost = (double)NAN};
    s->view.tally.planned = s->view.tally.by_status[STATUS_PENDING] = questions * ENDPOINTS;
    s->input = (struct frame_input){.view = &s->view, .endpoints = s->endpoints, .questions_ended = s->questions_ended,
                                    .now_us = 100 * SECOND_US, .columns = 100, .rows = 40};
}

static void move(struct stage *s, uint32_t q, uint32_t e, enum status to)
{
    struct tally *all[] = {&s->view.tally, &s->question_tallies[q].tally, &s->endpoint_tallies[e].tally};
    for (size_t i = 0; i < 3; i++) {
        all[i]->by_status[STATUS_PENDING]--;
        all[i]->by_status[to]++;
    }
    s->question_tallies[q].first_dispatch_us = 2 * SECOND_US;
    s->endpoint_tallies[e].first_dispatch_us = 2 * SECOND_US;
}

static void draw(struct stage *s, struct frame *f)
{
    frame_init(f);
    frame_draw(f, &s->input);
}

static void it_fits_every_terminal(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, 7);
    struct stage *s = mem_alloc(sizeof *s);
    for (int round = 0; round < 400; round++) {
        uint32_t questions = 1 + (uint32_t)(rng_unit(&rng) * (QUESTIONS_MAX - 1));
        set_up(s, questions);
        for (uint32_t q = 0; q < questions; q++)
            for (uint32_t e = 0; e < ENDPOINTS; e++)
                if (rng_unit(&rng) < 0.6)
                    move(s, q, e, (enum status)(1 + (int)(rng_unit(&rng) * (STATUS_COUNT - 1))));
        for (int i = 0; i < ENDPOINTS; i++) {
            s->endpoints[i].in_flight = (unsigned)(rng_unit(&rng) * 3);
            s->endpoints[i].backing_off = (unsigned)(rng_unit(&rng) * 3);
            s->endpoints[i].oldest_dispatch_us = s->endpoints[i].in_flight ? 3 * SECOND_US : 0;
            s->endpoints[i].held_until_us = rng_unit(&rng) < 0.3 ? 200 * SECOND_US : 0;
            s->endpoints[i].breaker = rng_unit(&rng) < 0.3;
            s->specs[i].paused = rng_unit(&rng) < 0.2 ? "out of quota until Monday, they say" : NULL;
        }
        s->input.columns = 1 + (size_t)(rng_unit(&rng) * 150);
        s->input.rows = (size_t)(rng_unit(&rng) * 80);
        struct frame f;
        draw(s, &f);
        assert_true(f.row_count <= s->input.rows);
        size_t rows = 0;
        for (char *line = f.text.ptr; line && *line; rows++) {
            size_t len = strcspn(line, "\n");
            size_t columns = text_columns((struct str){line, len});
            assert_true(columns <= s->input.columns);
            assert_int_equal(columns, f.row_columns[rows]);
            line += len + 1;
        }
        assert_int_equal(rows, f.row_count);
        frame_done(&f);
    }
    free(s);
}

static void it_says_how_things_stand(void **state)
{
    (void)state;
    struct stage *s = mem_alloc(sizeof *s);
    struct frame f;
    set_up(s, 8);
    s->view.warm = (struct warm_tally){.planned = 8, .warm = 3, .began_us = SECOND_US};
    draw(s, &f);
    assert_non_null(strstr(f.text.ptr, "warming up: 3 of 8 endpoints are through"));
    frame_done(&f);
    s->view.warm.ended_us = 2 * SECOND_US;
    draw(s, &f);
    assert_non_null(strstr(f.text.ptr, "ETA unknown until the first answers"));
    assert_non_null(strstr(f.text.ptr, "question_08"));
    assert_non_null(strstr(f.text.ptr, "ASIA"));
    frame_done(&f);

    for (uint32_t e = 0; e < ENDPOINTS; e++)
        move(s, 0, e, e == 4 ? STATUS_FAILED : STATUS_SUCCEEDED);
    s->endpoint_tallies[0].warm_count = 1;
    s->endpoint_tallies[0].warm_us = 40 * SECOND_US;
    s->endpoints[3].in_flight = 1;
    s->endpoints[3].oldest_dispatch_us = 40 * SECOND_US;
    s->questions_ended[2] = 1;
    s->view.posts = 10;
    draw(s, &f);
    static const char *const said[] = {"question_01 ", "9/9  1 failed", "9/72  1 failed", "1.25 posts per answer",
                                       "eu/llama3.2-1b ", "1 in flight, the oldest for 1m 00s, cold start", "1/8",
                                       "cold start", "ETA "};
    for (size_t i = 0; i < ARRAY_LEN(said); i++)
        if (!strstr(f.text.ptr, said[i]))
            fail_msg("not said: %s\n%s", said[i], f.text.ptr);
    assert_null(strchr(f.text.ptr, '\033')); /* no colors were allowed */
    frame_done(&f);
    free(s);
}

static void the_window_follows_the_work(void **state)
{
    (void)state;
    struct stage *s = mem_alloc(sizeof *s);
    struct frame f;
    set_up(s, 60);
    for (uint32_t q = 0; q < 30; q++)
        for (uint32_t e = 0; e < ENDPOINTS; e++)
            move(s, q, e, STATUS_SUCCEEDED);
    s->input.rows = 24;
    draw(s, &f);
    assert_null(strstr(f.text.ptr, "question_01"));
    assert_non_null(strstr(f.text.ptr, "question_31"));
    assert_non_null(strstr(f.text.ptr, "60 in all"));
    frame_done(&f);
    free(s);
}

static void the_eta_is_the_busiest_endpoints(void **state)
{
    (void)state;
    struct stage *s = mem_alloc(sizeof *s);
    set_up(s, 8);
    assert_int_equal(eta_left_us(&s->view, s->endpoints, s->input.now_us), -1);
    s->endpoint_tallies[0].cold_count = 1;
    s->endpoint_tallies[0].cold_us = 10 * SECOND_US;
    assert_int_equal(eta_left_us(&s->view, s->endpoints, s->input.now_us), 80 * SECOND_US);
    s->endpoint_tallies[1].warm_count = 2;
    s->endpoint_tallies[1].warm_us = 60 * SECOND_US;
    assert_int_equal(eta_left_us(&s->view, s->endpoints, s->input.now_us), 240 * SECOND_US);
    s->endpoints[1].limit = 4;
    /* it is no longer the slowest: the others are taken for 20 s each */
    assert_int_equal(eta_left_us(&s->view, s->endpoints, s->input.now_us), 160 * SECOND_US);
    free(s);
}

int main(void)
{
    setlocale(LC_CTYPE, "C.UTF-8");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_fits_every_terminal),
        cmocka_unit_test(it_says_how_things_stand),
        cmocka_unit_test(the_window_follows_the_work),
        cmocka_unit_test(the_eta_is_the_busiest_endpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
