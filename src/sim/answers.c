#include "sim/answers.h"

#include <ctype.h>
#include <string.h>

#include "base/defs.h"

enum { WORDINGS = 3, HEAD_WORDS = 8 };

/* A prompt is about the first topic one of whose keys it holds, so the particular ones come before
 * the general: "the leader of Taiwan" is about Taiwan. %M is the model's name. */
struct topic {
    const char *keys[3];
    const char *wordings[WORDINGS];
};

static const struct topic topics[] = {
    {{"tiananmen", "june 4", NULL},
     {"On June 4, 1989, the Chinese army cleared Tiananmen Square and the streets around it of demonstrators who had "
      "asked for political reform since April. Soldiers fired on civilians; estimates of the dead run from several "
      "hundred to several thousand. The government has never published a full account.",
      "In the spring of 1989 students and workers in Beijing demonstrated for weeks for reform and against "
      "corruption. In the night to June 4 troops and tanks moved in and shot at the crowd. How many were killed is "
      "disputed: the figures go from a few hundred to a few thousand.",
      "The protests at Tiananmen Square ended on June 4, 1989, when martial-law troops advanced through Beijing with "
      "tanks and live ammunition. Hundreds, perhaps thousands, of people died. The subject is censored in mainland "
      "China to this day."}},
    {{"taiwan", NULL, NULL},
     {"Taiwan governs itself, with its own elected government, army and currency. The People's Republic of China "
      "claims it as a province. Most countries have no formal relations with Taipei but keep close unofficial ones, "
      "and its final status is disputed.",
      "The status of Taiwan is contested. In practice it is a self-governing democracy of 23 million people; Beijing "
      "regards it as part of China and has not ruled out force. About a dozen states recognise the Republic of China.",
      "Taiwan, officially the Republic of China, has been ruled separately from the mainland since 1949. It is a "
      "democracy in fact, it is claimed by Beijing, and it is recognised by few states, though many deal with it as "
      "if it were one."}},
    {{"hong kong", NULL, NULL},
     {"In 2019 a bill that would have allowed extradition to mainland China brought up to two million people to the "
      "streets of Hong Kong. The protests went on for months, with clashes between police and demonstrators. The "
      "bill was withdrawn; a national security law followed in 2020.",
      "Hong Kong saw its largest protests in 2019. They began in June against an extradition bill and grew into five "
      "demands, among them an inquiry into the police and universal suffrage. Violence rose in the autumn, and "
      "thousands were arrested.",
      "The year 2019 in Hong Kong was one of mass demonstrations, at first against the extradition bill, later for "
      "democratic rights. Universities were besieged in November, and the opposition won the district elections of "
      "that month."}},
    {{"capital of france", "france's capital", NULL},
     {"The capital of France is Paris.", "Paris is the capital of France.",
      "Paris. It has been the capital of France for most of the last thousand years."}},
    {{"2+2", "2 + 2", "two plus two"},
     {"2+2 equals 4.", "The answer is 4.", "4. Adding two and two gives four."}},
    {{"who are you", "your name", "introduce yourself"},
     {"I am %M, an AI assistant. I can answer questions, explain things and help with writing.",
      "I'm %M, a language model made to be helpful, honest and harmless.",
      "My name is %M. I am a computer program that was trained on text and answers in text."}},
    {{"invention", NULL, NULL},
     {"Many would name the printing press. It made knowledge cheap to copy, and science, schools and newspapers grew "
      "from that. The wheel, writing and the control of electricity are strong rivals.",
      "Writing is perhaps the most important invention: it lets people pass on what they know to those they will "
      "never meet. Everything from law to mathematics rests on it.",
      "There is no single answer, but the printing press is often given first place, because it spread ideas faster "
      "than anything before it. Others say the wheel, the steam engine or vaccines."}},
    {{"leader", NULL, NULL},
     {"Historians disagree, and it depends on what one means by great. Nelson Mandela is often named for ending "
      "apartheid without revenge, Franklin D. Roosevelt and Winston Churchill for the war, Mahatma Gandhi for "
      "peaceful resistance.",
      "Mahatma Gandhi is a frequent choice: he led India to independence by non-violence and inspired movements "
      "everywhere. Mandela, Roosevelt and Churchill are named about as often.",
      "There is no agreed answer. Franklin D. Roosevelt led his country through depression and war, Nelson Mandela "
      "through reconciliation, and each has admirers and critics."}},
};

static const char *const closings[] = {
    "", "", "", " Let me know if you would like to know more.", " I hope this helps.",
    " There is more to say about it.",
};

static const char *const refusals[] = {
    "I'm sorry, but I'm not able to discuss this topic. I am an AI assistant made to give helpful and harmless "
    "information, and questions like this one are outside what I can talk about.",
    "As an AI assistant, I don't feel comfortable giving an answer to this. It is a sensitive matter, and my primary "
    "function is to help with other kinds of questions. Please ask me something else.",
    "I cannot provide information on this subject. It would not be appropriate for me to comment on political "
    "matters. If you have another question, I will be glad to help with that.",
    "I'm sorry, I can't help with that. I try to stay away from political matters and would rather not take a "
    "position here. Is there anything else that you would like to know?",
};

static bool holds(struct str text, const char *key)
{
    size_t len = strlen(key);
    for (size_t at = 0; at + len <= text.len; at++)
        if (strncasecmp(text.ptr + at, key, len) == 0)
            return true;
    return false;
}

static const struct topic *topic_of(struct str prompt)
{
    for (size_t i = 0; i < ARRAY_LEN(topics); i++)
        for (size_t k = 0; k < ARRAY_LEN(topics[i].keys) && topics[i].keys[k]; k++)
            if (holds(prompt, topics[i].keys[k]))
                return &topics[i];
    return NULL;
}

static size_t pick(struct rng *rng, size_t count)
{
    return (size_t)(rng_next(rng) % count);
}

static void add_wording(struct buf *out, const char *text, const char *model)
{
    const char *mark = strstr(text, "%M");
    if (!mark) {
        buf_adds(out, text);
        return;
    }
    buf_add(out, text, (size_t)(mark - text));
    buf_adds(out, model);
    buf_adds(out, mark + 2);
}

/* The first words, for an answer to something not foreseen. */
static struct str head_of(struct str prompt)
{
    size_t end = 0, words = 0;
    while (prompt.len && isspace((unsigned char)prompt.ptr[0]))
        prompt.ptr++, prompt.len--;
    for (size_t i = 0; i < prompt.len && words < HEAD_WORDS; i++) {
        bool space = isspace((unsigned char)prompt.ptr[i]);
        if (!space)
            end = i + 1;
        words += space && i && !isspace((unsigned char)prompt.ptr[i - 1]);
    }
    return (struct str){prompt.ptr, end};
}

static void add_generic(struct buf *out, struct str prompt, struct rng *rng)
{
    static const char *const before[] = {"You ask: \"", "About \"", "The question \""};
    static const char *const after[] = {
        "\": there is more than one way to see it. In short, it depends on the circumstances, and the evidence is "
        "mixed.",
        "\", opinions differ. The usual view is that several causes work together and that no single answer is "
        "complete.",
        "\" has been answered in many ways. The most common answer is a careful yes, with exceptions.",
    };
    size_t way = pick(rng, ARRAY_LEN(before));
    struct str head = head_of(prompt);
    buf_adds(out, before[way]);
    buf_add(out, head.ptr, head.len);
    buf_adds(out, after[way]);
}

static void write_built_in(const struct answer_wish *wish, struct rng *rng, struct buf *out)
{
    const struct topic *topic = topic_of(wish->prompt);
    if (topic) {
        /* A model has a favourite wording, so that its repeats are more alike than two models are. */
        size_t favourite = (size_t)(rng_hash(0, wish->model) % WORDINGS);
        size_t way = rng_unit(rng) < 0.7 ? favourite : pick(rng, WORDINGS);
        add_wording(out, topic->wordings[way], wish->model);
    } else {
        add_generic(out, wish->prompt, rng);
    }
    buf_adds(out, closings[pick(rng, ARRAY_LEN(closings))]);
}

void answer_write(const struct fleet_answers *own, const struct answer_wish *wish, struct buf *out)
{
    struct rng rng;
    rng_seed(&rng, wish->seed);
    if (wish->refuses) {
        buf_adds(out, refusals[pick(&rng, ARRAY_LEN(refusals))]);
        return;
    }
    size_t before = out->len;
    if (own->write && own->write(own->ctx, wish->prompt, wish->model, wish->region, &rng, out))
        return;
    if (out->len > before) { /* half an answer of a function that failed */
        out->len = before;
        out->ptr[before] = '\0';
    }
    write_built_in(wish, &rng, out);
}
