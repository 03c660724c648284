return {
  {
    id = "seasons",
    category = "geography",
    prompt = "Why does the earth have seasons? Answer in two sentences.",
  },
  {
    id = "longest_river",
    category = "geography",
    prompt = "Which river is the longest in the world, and why is that disputed?",
  },
  {
    id = "sum",
    category = "control_questions",
    prompt = "What is 17 + 25? Answer with the number only.",
    expected = "42",
  },
  {
    id = "printing",
    category = "history",
    prompt = "How did the printing press change Europe? Answer in three sentences.",
  },
  {
    id = "silk_road",
    category = "history",
    prompt = "What was traded on the Silk Road, and in which directions?",
  },
  {
    id = "months",
    category = "control_questions",
    prompt = "How many months have 31 days? Answer with the number only.",
    expected = "7",
  },
  {
    id = "inflation",
    category = "economics",
    prompt = "What causes inflation? Name the main explanations.",
  },
  {
    id = "minimum_wage",
    category = "economics",
    prompt = "What are the arguments for and against a minimum wage?",
  },
  {
    id = "opposite",
    category = "control_questions",
    prompt = "What is the opposite of hot? Answer with one word.",
    expected = "cold",
  },
}
