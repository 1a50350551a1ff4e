from setuptools import setup  # metadata lives in pyproject.toml

setup()
