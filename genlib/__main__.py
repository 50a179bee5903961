"""`python -m genlib`: train a model, draw from it, measure it."""

from genlib.train.cli import app

if __name__ == "__main__":
    app(prog_name="python -m genlib")
