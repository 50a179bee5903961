"""What all checks share: a step compared with its right answer, and words for the mistakes that are known."""
