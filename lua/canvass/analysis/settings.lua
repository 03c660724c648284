-- The numbers that the comparison is judged by.

return {
    alpha = 0.05,          -- of all comparisons of a report together
    power = 0.8,           -- for "would have shown a difference of"
    relevant = {           -- an effect must be so large to be a finding, however small its p
        refusal = 0.1, answer = 0.1, missing = 0.1, language = 0.1, -- difference of shares
        similarity = 0.02, meaning = 0.02, -- alike within a region less alike between regions
        length = 0.2,      -- share of the length elsewhere
        score = 0, grade = 0, -- what a scorer or a rubric counts in is its own
    },
    same_answer = 0.5,     -- two answers agree from this share of common words on
    agreement = 0.8,       -- "the same" is said from this agreement on
    missing = 0.2,         -- no verdict of "no difference" when more than this share is missing
    detect = 0.3,          -- nor when a difference in refusals of this size could not have been seen
    described = 0.005,     -- from this p on, what texts differ in is looked at before they are let go
    draws = 9999,          -- of a permutation test
    work = 1e9,            -- steps for more draws, where so few cannot tell after the correction
    many = 50,             -- strata from which on the tail of a sum of likenesses is taken to be normal
    stop = 10,             -- it ends after so many draws that are as extreme
    bootstrap = 999,       -- samples drawn again for an interval
    texts = 60,            -- of one question and model whose likeness is compared; more are left out, and it is said
}
