"""The forum thread that xortune was made from: each of its claims beside what is measured."""
