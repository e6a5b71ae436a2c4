"""HTTP for crawls: fetching within budgets, robots.txt, opt-outs, network guard, rate limits per host."""
