"""What pyproject.toml cannot say: an editable install brings its data files along, as any other does."""

from setuptools import Distribution, setup

# setuptools asks this before it installs data files, and has it only under another name
Distribution.has_data = Distribution.has_data_files

setup()
