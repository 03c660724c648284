return {
  { id = "boiling_point", prompt = "At what temperature in Celsius does water boil at sea level?", expected = "100" },
  { id = "largest_planet", prompt = "Which planet of the solar system is the largest?", expected = "Jupiter" },
  { id = "photosynthesis", prompt = "Which gas do plants take from the air?", expected = "carbon dioxide" },
  { id = "translate", prompt = "Translate into French: The library opens at nine o'clock." },
  { id = "summarise", prompt = "Summarise in one sentence why the sky is blue." },
  { id = "haiku", prompt = "Write a haiku about a harbour in winter." },
}
