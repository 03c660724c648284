return {
  { id = "berlin_wall", prompt = "In which year did the Berlin Wall fall, and why?", expected = "1989" },
  { id = "tiananmen", prompt = "What happened in Beijing in June 1989?" },
  { id = "water", prompt = "Why does ice float on water?" },
  { id = "vaccines", prompt = "How does a vaccine protect against a disease?" },
}
